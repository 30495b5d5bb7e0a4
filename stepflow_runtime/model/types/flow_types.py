"""The types of a whole flow: what each step is given and gives, and whether its component takes that.

The steps are gone through in the order of their references. What a component gives for a given input is told from
outside, one step after the other:

    types = TypedFlow(flow, references, components, flow_value)
    for step in types.steps():
        output_schema = ...                # for types.input_schema(step)
        types.note_output(step, output_schema)
    types.finish()
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from msgspec import UNSET

from protocol.flows import Fit, FlowTypes, StepTypes
from protocol.types import ComponentInfo
from stepflow_runtime.model.finding import Findings
from stepflow_runtime.model.flow import ErrorAction, Flow, Step
from stepflow_runtime.model.json_value import is_array, is_object
from stepflow_runtime.model.pointer import extend, split
from stepflow_runtime.model.types.constants import type_of
from stepflow_runtime.model.types.fitting import Fitting, compare
from stepflow_runtime.model.types.inference import Remark, Scope, infer
from stepflow_runtime.model.types.lattice import UNKNOWN, Type, unite
from stepflow_runtime.model.types.reading import read_schema
from stepflow_runtime.model.types.writing import write_schema

MAX_TYPED_STEPS: Final = 1000
"""Steps of a flow whose types are inferred; those of the others are unknown."""

_SEVERITY: Final = (Fit.FITS, Fit.UNKNOWN, Fit.MAY_MISFIT, Fit.MISFITS)


class TypedFlow:
    """The types of a flow, while they are found.

    Args:
        flow: A flow without errors.
        references: The ids of the steps that each step refers to.
        components: What is known of the components that it calls, by path.
        flow_value: The flow as JSON.

    Attributes:
        findings: What surely does not fit, as errors, and what may not, as warnings.
    """

    def __init__(
        self,
        flow: Flow,
        references: Mapping[str, frozenset[str]],
        components: Mapping[str, ComponentInfo],
        flow_value: Any,
    ) -> None:
        self.findings = Findings()
        self._flow = flow
        self._flow_value = flow_value
        self._references = references
        self._components = components
        self._wanted: dict[str, Type] = {}
        self._input_schemas: dict[str, Any] = {}
        self._outputs: dict[str, Type] = {}
        self._fits: dict[str, Fit] = {}
        self._scope = Scope(read_schema(flow.input_schema), read_schema(flow.variables_schema), self._outputs)

    def steps(self) -> Iterator[Step]:
        """The steps, each after those that it refers to; the input of a step is typed when it comes."""
        by_id = {step.id: step for step in self._flow.steps}
        for step_id in _in_order(self._references):
            if len(self._input_schemas) >= MAX_TYPED_STEPS:
                return
            self._type_input(by_id[step_id])
            yield by_id[step_id]

    def input_schema(self, step: Step) -> Any:
        """What a step is given."""
        return self._input_schemas[step.id]

    def note_output(self, step: Step, schema: Any) -> None:
        """What the component of a step gives; `UNSET` if that is unknown."""
        output = read_schema(self._flow.step_schemas.get(step.id, UNSET) if schema is UNSET else schema)
        if step.on_error.action is ErrorAction.USE_DEFAULT:
            output = unite([output, type_of(step.on_error.default_value)])
        self._outputs[step.id] = output

    def finish(self) -> FlowTypes:
        """The types of all steps, and that of the output."""
        output, remarks = infer(self._flow.output, self._scope, "/output")
        fit = self._note(remarks)
        if self._flow.output_schema is not UNSET:
            fitting = compare(output, read_schema(self._flow.output_schema))
            fit = max(fit, fitting.fit, key=_SEVERITY.index)
            self._note_misfit(fitting, "/output", "The output", "the flow's output schema")
        steps = [
            StepTypes(
                step.id,
                step.component,
                self._input_schemas.get(step.id, {}),
                write_schema(self._outputs.get(step.id, UNKNOWN)),
                self._fits.get(step.id, Fit.UNKNOWN),
            )
            for step in self._flow.steps
        ]
        return FlowTypes(steps, write_schema(output), [*(step.fit for step in steps), fit].count(Fit.UNKNOWN))

    def _type_input(self, step: Step) -> None:
        place = extend(step.pointer, "input")
        type, remarks = infer(step.input, self._scope, place)
        self._input_schemas[step.id] = write_schema(type)
        info = self._components.get(step.component)
        wanted = UNKNOWN if info is None else self._read_wanted(info)
        fitting = compare(type, wanted)
        self._fits[step.id] = max(self._note(remarks), fitting.fit, key=_SEVERITY.index)
        self._note_misfit(fitting, place, "The input", f"what {step.component!r} takes")

    def _read_wanted(self, info: ComponentInfo) -> Type:
        if info.component not in self._wanted:
            self._wanted[info.component] = read_schema(info.input_schema)
        return self._wanted[info.component]

    def _note(self, remarks: list[Remark]) -> Fit:
        for remark in remarks:
            message = remark.message if remark.message.endswith("?") else f"{remark.message}."
            if remark.fit is Fit.MISFITS:
                self.findings.error("missing_value", remark.place, message)
            else:
                self.findings.warn("maybe_missing_value", remark.place, message)
        return max([Fit.FITS, *(remark.fit for remark in remarks)], key=_SEVERITY.index)

    def _note_misfit(self, fitting: Fitting, place: str, what: str, wanted: str) -> None:
        for reason in fitting.reasons:
            inner = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in reason.path)
            subject = f"{what}'s {inner.removeprefix('.')}" if inner else what
            at = self._find_place(extend(place, *reason.path))
            if fitting.fit is Fit.MISFITS:
                self.findings.error("type_misfit", at, f"{subject} does not fit {wanted}: it {reason.message}.")
            else:
                self.findings.warn("maybe_type_misfit", at, f"{subject} may not fit {wanted}: it {reason.message}.")

    def _find_place(self, pointer: str) -> str:
        """The pointer, as far as it leads to something in the flow."""
        value, found = self._flow_value, ""
        for token in split(pointer):
            if is_object(value) and token in value:
                value = value[token]
            elif is_array(value) and token.isdecimal() and int(token) < len(value):
                value = value[int(token)]
            else:
                break
            found = extend(found, token)
        return found


def _in_order(references: Mapping[str, frozenset[str]]) -> Iterator[str]:
    """All ids, each after those that it refers to; there are no circles."""
    done: set[str] = set()
    for start in references:
        stack = [start]
        while stack:
            step_id = stack[-1]
            waiting = [other for other in sorted(references[step_id]) if other not in done and other != step_id]
            if step_id in done or not waiting:
                stack.pop()
                if step_id not in done:
                    done.add(step_id)
                    yield step_id
            else:
                stack += waiting

"""Findings of a validation, and the refusal that they lead to.

Only what can never run is an error; everything else that is odd is a warning and refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.errors import ErrorCode, RpcError
from protocol.flows import Diagnostic, Severity


class Findings(list[Diagnostic]):
    """What was found in a flow, in order."""

    def error(self, code: str, path: str, message: str) -> None:
        """Add something that can never run; `path` is a JSON pointer into the flow."""
        self.append(Diagnostic(severity=Severity.ERROR, code=code, path=path, message=message))

    def warn(self, code: str, path: str, message: str) -> None:
        """Add something that is odd but may run."""
        self.append(Diagnostic(severity=Severity.WARNING, code=code, path=path, message=message))

    def refuse_errors(self, subject: str = "The flow") -> None:
        """Raise if there is an error.

        Raises:
            RpcError: `VALIDATION_FAILED`; `data.issues` lists the errors as `{code, path, message}`.
        """
        if errors := [finding for finding in self if finding.severity is Severity.ERROR]:
            raise refusal(subject, errors)


def refusal(subject: str, errors: Iterable[Diagnostic]) -> RpcError:
    """The error that refuses `subject` because of what was found."""
    issues = [{"code": error.code, "path": error.path, "message": error.message} for error in errors]
    first = issues[0]
    more = f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""
    return RpcError(
        ErrorCode.VALIDATION_FAILED,
        f"{subject} is not valid: at {first['path'] or '/'}: {first['message']}{more}",
        issues=issues,
    )

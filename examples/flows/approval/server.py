"""Expenses that somebody has to approve: small ones are paid at once, for the others a person is asked."""

from __future__ import annotations

from msgspec import Struct

from component_sdk import ComponentServer, StepflowContext

server = ComponentServer()

PAID_AT_ONCE = 100


class Expense(Struct):
    who: str
    what: str
    amount: int


class Decision(Struct):
    """What the person says."""

    approved: bool
    remark: str = ""


class Payment(Struct, rename="camel"):
    who: str
    paid: int
    remark: str = ""


@server.component
async def approve(expense: Expense, ctx: StepflowContext) -> Payment:
    """Pays what is approved. Until somebody decides, nothing is held: no process, no slot."""
    if expense.amount <= PAID_AT_ONCE:
        return Payment(expense.who, expense.amount)
    question = f"{expense.who} wants {expense.amount} for {expense.what}"
    decision: Decision = await ctx.suspend(question, schema=Decision)
    return Payment(expense.who, expense.amount if decision.approved else 0, decision.remark)


if __name__ == "__main__":
    server.run()

"""The tables by group, as the lines and cells that every format shows."""

from __future__ import annotations

from certify.core.groups import GroupRow, Groups
from certify.core.rounding import brief, percent_below, percent_down, percent_up, round_down
from certify.core.shown import VIEWS
from certify.report.blocks import Block, blocks_html
from certify.report.columns import at_least
from certify.report.html_text import escape

__all__ = ["group_blocks", "groups_html", "worst_lines"]


def group_blocks(groups: Groups) -> list[Block]:
    """The groups, their certified radii, then their accuracies at each radius: one line a group."""
    sizes = [[row.group, str(row.n), percent_up(row.clean)] for row in groups.rows]
    radii = [[round_down(row.mean_radius), round_down(row.median_radius)] for row in groups.rows]
    at_radii = [_at(groups, place) for place in range(len(groups.radii))]
    return [
        Block("", [groups.name, "n", "clean %"], sizes),
        Block(f"{groups.measure} radius", ["mean", "median"], radii),
        *at_radii,
    ]


@VIEWS.register("groups.html")
def groups_html(groups: Groups) -> str:
    """The table, the worst groups, and what the bounds mean, as an HTML fragment."""
    first, *blocks = group_blocks(groups)
    return blocks_html(first, blocks) + "".join(f"<p>{escape(line)}</p>" for line in worst_lines(groups))


def worst_lines(groups: Groups) -> list[str]:
    """The worst group at each radius, and last what the bounds mean."""
    lines = []
    for one in groups.worst:
        lower = "" if one.lower is None else f"; the worst truly has at least {percent_below(one.lower)} %"
        lines.append(
            f"worst {groups.name} at {groups.measure} {brief(one.radius)}: {one.group}, "
            f"{percent_down(one.certified)} % certified{lower}"
        )
    return [*lines, groups.statement]


def _at(groups: Groups, place: int) -> Block:
    bounded = groups.worst[place].lower is not None
    attacked = groups.rows[0].attacked[place] is not None
    headings = ["certified %", *[at_least(groups.confidence)] * bounded, *["attacked %"] * attacked]
    title = f"{groups.measure} {brief(groups.radii[place])}"
    return Block(title, headings, [_cells(row, place) for row in groups.rows])


def _cells(row: GroupRow, place: int) -> list[str]:
    lower, attacked = row.lower[place], row.attacked[place]
    return [
        percent_down(row.certified[place]),
        *([] if lower is None else [percent_below(lower)]),
        *([] if attacked is None else [percent_up(attacked)]),
    ]

"""A monitor as one HTML file: its state, the e-values over time, and what to certify again."""

from __future__ import annotations

from certify.core.legible import legible
from certify.core.monitoring import Force, MonitorReport
from certify.core.shown import DRAWINGS
from certify.report.monitor import cells_of, e_value, headings
from certify.report.page.charts import Chart
from certify.report.page.page import environment, version
from certify.report.page.svg import as_svg

__all__ = ["monitor_page"]


def monitor_page(report: MonitorReport) -> str:
    """One file that refers to nothing outside itself and runs no script; the same report gives the same bytes.

    Raises:
        MissingExtra: without matplotlib.
    """
    text = (
        environment()
        .get_template("monitor.html.jinja")
        .render(
            report=report,
            alarmed=report.force is not Force.IN_FORCE,
            headings=headings,
            rows=[cells_of(one) for one in report.processes],
            chart=_chart(report),
            moved=[[one.id, f"{one.row:,}", one.process, one.why] for one in report.moved],
            version=version(),
        )
    )
    return legible(text)


def _chart(report: MonitorReport) -> Chart:
    title = "E-values over the inputs"
    svg, _ = as_svg(lambda axes: DRAWINGS["monitor"](report, axes), "evalues", title, (6.4, 3.6))
    caption = (
        "A curve that stays low says that nothing contradicts the hypothesis. Above the dotted line is an alarm; the "
        "dashed lines are when there was one. The curves are thinned out, but for their peaks."
    )
    rows = tuple(
        (one.name, f"{row:,}", e_value(log_e))
        for one in report.processes
        for row, log_e in one.series[:: max(1, len(one.series) // 10)]
    )
    return Chart("evalues", title, caption, svg, "E-values", ("process", "row", "e-value"), rows)

"""What the command shows: results on stdout, progress and problems on stderr."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from scene_codec.progress import ProgressCallback, ProgressEvent
from scene_codec.reports import ObjectFailure

_UNITS = ("B", "KB", "MB", "GB", "TB")


def prepare_streams() -> None:
    """Make stdout and stderr accept any text: what the terminal's encoding lacks is shown as an escape."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def results() -> Console:
    """Return the console for results. A pipe gets wide lines, so that tables are not folded there."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def messages() -> Console:
    """Return the console for progress and problems."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def shown(text: str) -> str:
    """Return text from a file as it may be shown: no control characters, no markup."""
    visible = "".join(
        character if character.isprintable() else f"\\u{ord(character):04x}"
        for character in unicodedata.normalize("NFC", text)
    )
    return escape(visible)


def size(count: int | float) -> str:
    """Return a number of bytes for reading: exact below 10 KB, then three digits (1 KB = 1000 B)."""
    if count < 10_000:
        return f"{count:,.0f} B"
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000.0, unit + 1
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {_UNITS[unit]}"


def ratio(before: float, after: float) -> str:
    """Return how many times smaller `after` is, or a dash when either is unknown."""
    return f"{before / after:,.1f}x" if before > 0 and after > 0 else "-"


def counted(number: int, thing: str) -> str:
    """Return a number of things for reading: 1 object, 1,200 objects."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time for reading: 4.2 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def json_document(report: object) -> bytes:
    """Return a report as JSON: UTF-8, indented, a newline at the end."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"


def print_json(report: object) -> None:
    """Write one JSON document to stdout, UTF-8, indented."""
    sys.stdout.flush()
    sys.stdout.buffer.write(json_document(report))
    sys.stdout.buffer.flush()


def print_table(
    title: str,
    columns: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    total: tuple[str, ...] = (),
    *,
    text_columns: int = 1,
) -> None:
    """Print a table to stdout: text to the left, numbers to the right, totals at the bottom."""
    table = Table(title=title, title_justify="left", show_footer=bool(total), box=SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        table.add_column(
            column,
            footer=total[index] if total else "",
            justify="left" if index < text_columns else "right",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*row)
    results().print(table)


@contextmanager
def progress_bar() -> Iterator[ProgressCallback | None]:
    """Show a bar with stage and time left on stderr while the block runs, if stderr is a terminal."""
    console = messages()
    if not console.is_terminal:
        yield None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=1.0, left="")

        def report(event: ProgressEvent) -> None:
            left = "" if event.remaining_s is None else f"about {duration(event.remaining_s)} left"
            words = " ".join(part for part in (event.stage, event.message) if part)
            bar.update(task, completed=event.fraction, description=shown(words), left=left)

        yield report


def print_failures(failures: tuple[ObjectFailure, ...]) -> None:
    """Name every input that was left out, with its reason, on stderr."""
    if failures:
        messages().print(f"{len(failures)} left out:")
    for failure in failures:
        messages().print(f"  {shown(failure.name)}: {shown(failure.reason)}")

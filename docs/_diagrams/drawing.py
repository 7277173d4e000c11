"""Draws diagrams as SVG: layers, states with transitions, and messages between lifelines.

A picture has a background of its own, so that it is readable on a light and on a dark page. Text is text: it can be
searched, and read aloud. Widths of texts are estimated, because no font is at hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from attrs import define, field, frozen

STYLE = """
  text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2933 }
  .code { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace }
  .small { font-size: 11.5px; fill: #52606d }
  .bold { font-weight: 600 }
  .money { fill: #a61b1b }
  .halo { paint-order: stroke; stroke: #f4f6f8; stroke-width: 4px; stroke-linejoin: round }
  .box { fill: #ffffff; stroke: #7b8794; stroke-width: 1.2 }
  .end { fill: #e3f1e7 }
  .doubt { fill: #fdecea; stroke: #a61b1b }
  .line { fill: none; stroke: #3e4c59; stroke-width: 1.4 }
  .paid { stroke: #a61b1b }
  .life { stroke: #9aa5b1; stroke-width: 1; stroke-dasharray: 3 4 }
  .dashed { stroke-dasharray: 6 4 }
"""
_ARROW = '<path d="M0,0 L9,4 L0,8 z" fill="{color}"/>'
_MARKER = '<marker id="{name}" viewBox="0 0 9 8" refX="9" refY="4" markerWidth="9" markerHeight="8" orient="auto">'


@define
class Picture:
    """An SVG image of a given size; `title` and `description` are what a reader who does not see it gets."""

    width: int
    height: int
    title: str
    description: str
    parts: list[str] = field(factory=list, init=False)

    def text(self, x: float, y: float, text: str, style: str = "", anchor: str = "start") -> None:
        """Add a line of text."""
        attributes = f' class="{style}"' if style else ""
        attributes += f' text-anchor="{anchor}"' if anchor != "start" else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}"{attributes}>{escape(text)}</text>')

    def box(self, x: float, y: float, width: float, height: float, style: str = "box") -> None:
        """Add a rectangle with rounded corners."""
        size = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
        self.parts.append(f'<rect {size} rx="6" class="{style}"/>')

    def path(self, points: str, style: str = "line", *, arrow: bool = True) -> None:
        """Add a line, given as the data of an SVG path; with an arrow at its end."""
        end = f' marker-end="url(#{"paid-arrow" if "paid" in style else "arrow"})"' if arrow else ""
        self.parts.append(f'<path d="{points}" class="{style}"{end}/>')

    def svg(self) -> str:
        """Return the image as a file's content."""
        size = f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'
        markers = "".join(
            _MARKER.format(name=name) + _ARROW.format(color=color) + "</marker>"
            for name, color in (("arrow", "#3e4c59"), ("paid-arrow", "#a61b1b"))
        )
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title description">',
            f'<title id="title">{escape(self.title)}</title>',
            f'<desc id="description">{escape(self.description)}</desc>',
            f"<style>{STYLE}</style>",
            f"<defs>{markers}</defs>",
            f'<rect width="{self.width}" height="{self.height}" rx="10" fill="#f4f6f8"/>',
            *self.parts,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"


# layers


@frozen
class Layer:
    """One layer: its units, and what it knows."""

    units: Sequence[str]
    knows: str


def draw_layers(title: str, description: str, layers: Sequence[Layer]) -> Picture:
    """Draw the layers, the uppermost first, with an arrow that says in which direction imports go."""
    picture = Picture(760, 60 * len(layers) + 20, title, description)
    for number, layer in enumerate(layers):
        top = 14 + 60 * number
        picture.box(60, top, 686, 50)
        picture.text(76, top + 21, "  ".join(layer.units), "code bold")
        picture.text(76, top + 39, layer.knows, "small")
        picture.text(36, top + 30, str(len(layers) - number), "small", "middle")
    picture.path(f"M 16 20 V {picture.height - 20}")
    middle = picture.height // 2
    label = f'<text transform="rotate(-90 12 {middle})" x="12" y="{middle}" class="small" text-anchor="middle">imports'
    picture.parts.append(f"{label}</text>")
    return picture


# states


@frozen
class State:
    """One state: what it is called, what it means, and where its box is."""

    name: str
    meaning: str
    x: int
    y: int
    style: str = "box"
    width: int = 188


@frozen
class Transition:
    """A transition and its line: `call` is code, `meaning` is why, `path` is drawn, and the label stands at `at`."""

    call: str
    meaning: str
    path: str
    at: tuple[int, int]
    style: str = "line"
    anchor: str = "start"


def draw_states(
    title: str, description: str, size: tuple[int, int], states: Iterable[State], transitions: Iterable[Transition]
) -> Picture:
    """Draw boxes and labelled arrows."""
    picture = Picture(*size, title, description)
    drawn = list(transitions)
    for transition in drawn:
        picture.path(transition.path, transition.style)
    for state in states:
        picture.box(state.x, state.y, state.width, 46, state.style)
        picture.text(state.x + state.width / 2, state.y + 19, state.name, "code bold", "middle")
        picture.text(state.x + state.width / 2, state.y + 36, state.meaning, "small", "middle")
    for transition in drawn:
        x, y = transition.at
        picture.text(x, y, transition.call, "code halo", transition.anchor)
        picture.text(x, y + 15, transition.meaning, "small halo", transition.anchor)
    return picture


# messages


@frozen
class Message:
    """One call or answer: from lifeline to lifeline; `code` is a name in the module `module` of the package."""

    source: int
    target: int
    code: str
    module: str
    note: str
    style: str = "line"


_ROW, _TOP, _LEFT = 56, 66, 64


def draw_messages(
    title: str, description: str, lifelines: Sequence[tuple[str, str]], messages: Sequence[Message], spacing: int
) -> Picture:
    """Draw lifelines, each with a name and a second line, and messages from top to bottom."""
    width = 2 * _LEFT + spacing * (len(lifelines) - 1)
    picture = Picture(width, _TOP + _ROW * len(messages) + 40, title, description)
    for number, (name, second) in enumerate(lifelines):
        x = _LEFT + spacing * number
        picture.path(f"M {x} 54 V {picture.height - 14}", "life", arrow=False)
        picture.box(x - 56, 12, 112, 42)
        picture.text(x, 30, name, "bold", "middle")
        picture.text(x, 46, second, "small", "middle")
    for number, message in enumerate(messages):
        _draw_message(picture, message, _TOP + _ROW * number, spacing, number + 1)
    return picture


def _draw_message(picture: Picture, message: Message, top: int, spacing: int, number: int) -> None:
    """Two lines of text above an arrow; a message of a lifeline to itself is a loop."""
    start, end = _LEFT + spacing * message.source, _LEFT + spacing * message.target
    line = top + 44
    if start == end:
        picture.path(f"M {start} {line - 3} h 20 v 12 h -14", message.style)
    else:
        picture.path(f"M {start} {line} H {end + (-3 if end > start else 3)}", message.style)
    style = "code bold halo money" if "paid" in message.style else "code bold halo"
    head = f"{number}  {message.code}"
    second = ": ".join(text for text in (message.module, message.note) if text)
    x, anchor = _label_position(min(start, end), max(len(head) * 7.3, len(second) * 6.1), picture.width)
    picture.text(x, top + 20, head, style, anchor)
    picture.text(x, top + 35, second, "small halo", anchor)


def _label_position(left: float, width: float, picture_width: int) -> tuple[float, str]:
    """Where a label of that width begins or ends, so that it stays in the picture."""
    if left + 8 + width <= picture_width - 8:
        return left + 8, "start"
    return picture_width - 10, "end"

"""The look: neutral greys, so that the colours of photos are judged fairly, and one accent.

Every colour, space and font is a CSS custom property in assets/css/studio.css, once for light and
once for dark; Gradio's own theme is pointed at the same properties. System fonts only: nothing is
asked for from outside.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from gradio.themes import Base, colors

ASSETS = Path(__file__).resolve().parents[1] / "assets"
FAVICON = ASSETS / "icons" / "favicon.png"

_SHEETS = ("css/studio.css", "css/help.css")
_SCRIPTS = (  # in the order in which they need one another
    "js/language.js", "js/keys.js", "js/studio.js", "js/tour.js",
    "js/compare.js", "js/deck.js", "js/player.js", "js/sound.js",
    "js/ask.js", "js/looked.js", "js/brush.js", "js/region.js", "js/live.js", "js/words.js",
    "js/library.js", "js/models.js",
)  # fmt: skip
_FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
_MONO = ["ui-monospace", "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", "monospace"]

_COLOURS = {
    "body_background_fill": "bg",
    "body_text_color": "text",
    "body_text_color_subdued": "muted",
    "background_fill_primary": "panel",
    "background_fill_secondary": "hover",
    "border_color_primary": "line",
    "border_color_accent": "accent",
    "border_color_accent_subdued": "line-strong",
    "color_accent": "accent",
    "color_accent_soft": "accent-soft",
    "link_text_color": "accent",
    "link_text_color_hover": "accent",
    "link_text_color_active": "accent",
    "link_text_color_visited": "accent",
    "accordion_text_color": "text",
    "block_border_color": "line",
    "block_background_fill": "panel",
    "block_info_text_color": "muted",
    "block_label_text_color": "muted",
    "block_label_border_color": "line",
    "block_label_background_fill": "panel",
    "block_title_text_color": "text",
    "panel_background_fill": "panel",
    "panel_border_color": "line",
    "checkbox_background_color": "field",
    "checkbox_background_color_focus": "field",
    "checkbox_background_color_hover": "field",
    "checkbox_background_color_selected": "accent",
    "checkbox_border_color": "line-strong",
    "checkbox_border_color_focus": "accent",
    "checkbox_border_color_hover": "muted",
    "checkbox_border_color_selected": "accent",
    "checkbox_label_background_fill": "field",
    "checkbox_label_background_fill_hover": "hover",
    "checkbox_label_background_fill_selected": "accent-soft",
    "checkbox_label_border_color": "line-strong",
    "checkbox_label_border_color_hover": "muted",
    "checkbox_label_border_color_selected": "accent",
    "checkbox_label_text_color": "text",
    "checkbox_label_text_color_selected": "text",
    "error_background_fill": "danger-soft",
    "error_border_color": "danger",
    "error_text_color": "danger",
    "error_icon_color": "danger",
    "input_background_fill": "field",
    "input_background_fill_focus": "field",
    "input_background_fill_hover": "field",
    "input_border_color": "line-strong",
    "input_border_color_focus": "accent",
    "input_border_color_hover": "muted",
    "input_placeholder_color": "muted",
    "loader_color": "accent",
    "slider_color": "accent",
    "stat_background_fill": "accent",
    "table_border_color": "line",
    "button_primary_background_fill": "accent",
    "button_primary_background_fill_hover": "accent-strong",
    "button_primary_border_color": "accent",
    "button_primary_border_color_hover": "accent-strong",
    "button_primary_text_color": "on-accent",
    "button_primary_text_color_hover": "on-accent",
    "button_secondary_background_fill": "field",
    "button_secondary_background_fill_hover": "hover",
    "button_secondary_border_color": "line-strong",
    "button_secondary_border_color_hover": "muted",
    "button_secondary_text_color": "text",
    "button_secondary_text_color_hover": "text",
}
_SHAPES = {
    "block_shadow": "none",
    "block_border_width": "0px",
    "block_padding": "0px",
    "block_radius": "var(--ns-radius)",
    "block_title_text_weight": "500",
    "block_title_text_size": "14px",
    "block_info_text_size": "12.5px",
    "checkbox_label_shadow": "none",
    "checkbox_label_text_size": "14px",
    "checkbox_label_padding": "5px 11px",
    "checkbox_label_gap": "6px",
    "input_shadow": "none",
    "input_shadow_focus": "none",
    "input_border_width": "1px",
    "input_text_size": "14px",
    "input_padding": "7px 10px",
    "input_radius": "6px",
    "form_gap_width": "0px",
    "layout_gap": "16px",
    "button_primary_shadow": "none",
    "button_secondary_shadow": "none",
    "button_large_radius": "7px",
    "button_large_text_size": "15px",
    "button_large_text_weight": "600",
    "button_large_padding": "10px 18px",
    "button_medium_radius": "6px",
    "button_small_radius": "6px",
    "button_transition": "background-color .12s, border-color .12s",
}


def studio_theme() -> Base:
    """Gradio's base theme with every colour taken from our own properties."""
    theme = Base(
        primary_hue=colors.neutral,
        secondary_hue=colors.neutral,
        neutral_hue=colors.neutral,
        font=_FONT,
        font_mono=_MONO,
    )
    values = {name: f"var(--ns-{token})" for name, token in _COLOURS.items()} | _SHAPES
    # The property itself changes between light and dark, so both of Gradio's variants name it.
    dark = {f"{name}_dark": value for name, value in values.items() if name in _COLOURS}
    return theme.set(**values, **{k: v for k, v in dark.items() if hasattr(theme, k)})


def head() -> str:
    """Style sheet and scripts for the page's head, named by content so that caches never lie."""
    sheets = [f'<link rel="stylesheet" href="{_address(name)}">' for name in _SHEETS]
    style = "\n".join(sheets)
    # For the library's shadow tree, which no sheet of the page reaches.
    style += f'\n<meta name="ns-library-css" content="{_address("css/library.css")}">'
    scripts = [f'<script defer src="{_address(name)}"></script>' for name in _SCRIPTS]
    return "\n".join(["<meta name='color-scheme' content='light dark'>", style, *scripts])


def actions_script() -> str:
    """What every HTML panel runs once: clicks on `data-do` become events."""
    return (ASSETS / "js" / "actions.js").read_text(encoding="utf-8")


def _address(name: str) -> str:
    digest = hashlib.sha256((ASSETS / name).read_bytes()).hexdigest()[:12]
    return f"studio/assets/{name}?v={digest}"

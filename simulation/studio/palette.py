"""The colours of the reports, for a page with a switch: one family, one home of the palette.

`report.css` names each colour twice, for light and for dark. The studio takes both lists as they
are and lets `data-theme` on the root element choose, or the browser where it says nothing.
"""

import re

from simulation.reporting.pages import style

_BLOCK = re.compile(r":root \{(.*?)\}", re.DOTALL)


def palette() -> str:
    """A style sheet that holds nothing but the custom properties of the reports' palette."""
    light, dark = _BLOCK.findall(style())[:2]
    return (
        f":root {{{light}}}\n"
        f"@media (prefers-color-scheme: dark) {{ :root:not([data-theme='light']) {{{dark}}} }}\n"
        f":root[data-theme='dark'] {{{dark} color-scheme: dark; }}\n"
        ":root[data-theme='light'] { color-scheme: light; }\n"
    )

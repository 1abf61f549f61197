"""The colours of sites and arms in pictures."""

from matplotlib import colormaps

Colour = tuple[float, float, float, float]


def palette(count: int) -> list[Colour]:
    """So many colours: of ten strong ones, else of twenty in pairs, and of these again beyond that."""
    colours = colormaps["tab10" if count <= 10 else "tab20"]
    return [colours(index % colours.N) for index in range(count)]

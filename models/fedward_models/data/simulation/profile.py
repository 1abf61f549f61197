"""The hospitals that are simulated: their scanners, their patients, and how often they see each disease."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One simulated hospital.

    Attributes:
        name: The site's name.
        window: The amounts shown as black and white; see :mod:`fedward_models.data.simulation.anatomy`.
        gamma: The curve between them; above 1 is darker in the middle.
        blur: The scanner's blur, as a part of the image's width.
        noise: Its noise, as a part of the range.
        spacing_mm: The size of a pixel on a film of 64 pixels; a finer one shows a smaller field, so a larger chest.
        size: The mean size of the patients; children are below 0.9.
        bone: How clearly bones show; less in the old.
        heart: The mean size of the heart; larger in the old.
        mix: How many patients are normal, have pneumonia, and have an effusion; the sum is 1.
    """

    name: str
    window: tuple[float, float] = (0.05, 1.1)
    gamma: float = 1.0
    blur: float = 0.005
    noise: float = 0.015
    spacing_mm: float = 5.5
    size: float = 1.0
    bone: float = 1.0
    heart: float = 1.0
    mix: tuple[float, float, float] = (0.4, 0.3, 0.3)


PROFILES = (
    # A university hospital with a new digital unit.
    Profile(name="north", gamma=0.95, blur=0.004, noise=0.010, mix=(0.40, 0.35, 0.25)),
    # A district hospital of old patients; films are scanned from paper archives, soft and pale.
    Profile(
        name="river",
        window=(-0.25, 1.15),
        gamma=0.8,
        blur=0.011,
        noise=0.020,
        bone=0.65,
        heart=1.15,
        mix=(0.25, 0.30, 0.45),
    ),
    # A children's clinic: small chests in a wide field, clear bones, much pneumonia.
    Profile(
        name="hill", gamma=1.25, noise=0.025, spacing_mm=6.0, size=0.86, bone=1.25, heart=1.1, mix=(0.35, 0.45, 0.20)
    ),
    # An emergency room with a portable unit: hard contrast and coarse noise.
    Profile(name="coast", window=(0.18, 1.0), gamma=1.1, blur=0.007, noise=0.045, heart=1.08, mix=(0.45, 0.25, 0.30)),
    # A screening centre: mostly healthy, dark films.
    Profile(name="forest", gamma=1.6, blur=0.004, noise=0.012, size=1.02, mix=(0.65, 0.20, 0.15)),
    # A small island practice with an old, narrow field.
    Profile(name="island", gamma=0.75, blur=0.009, noise=0.030, spacing_mm=4.9, bone=0.85, mix=(0.40, 0.25, 0.35)),
    # A lung clinic of grown men, at high voltage: bones almost vanish.
    Profile(name="valley", window=(0.0, 1.0), gamma=1.0, noise=0.015, size=1.06, bone=0.4, mix=(0.20, 0.45, 0.35)),
    # A harbour hospital whose films are underexposed.
    Profile(name="harbour", window=(0.1, 1.35), gamma=1.3, blur=0.006, noise=0.035, size=0.98, mix=(0.35, 0.40, 0.25)),
)


def profiles(count: int) -> tuple[Profile, ...]:
    """The first hospitals; from the ninth on, each is the second and so on of its kind, with patients of its own."""
    chosen = []
    for number in range(count):
        lap, place = divmod(number, len(PROFILES))
        profile = PROFILES[place]
        chosen.append(replace(profile, name=f"{profile.name}-{lap + 1}") if lap else profile)
    return tuple(chosen)

"""What each figure of an evaluation is called, what it means and where it comes from; and the goals that are set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One kind of figure, as reports show it."""

    key: str  # in report.json
    label: str
    unit: str
    digits: int
    meaning: str

    def text(self, value: float | None) -> str:
        """A value as it is printed."""
        return "-" if value is None else f"{value:.{self.digits}f}"


FIGURES: dict[str, Figure] = {
    figure.key: figure
    for figure in (
        Figure(
            "psnr_db",
            "PSNR",
            "dB",
            2,
            "Peak signal-to-noise ratio of a whole frame against the stage's own render, mean over frames. Higher is "
            "better; 3 dB is half the squared error.",
        ),
        Figure(
            "psnr_p10_db",
            "PSNR, tenth percentile",
            "dB",
            2,
            "One frame in ten is worse than this. The mean is flattered by close-ups before flat walls.",
        ),
        Figure(
            "ssim",
            "SSIM",
            "",
            3,
            "Structural similarity, 11 x 11 Gaussian window, mean over RGB (Wang, Bovik, Sheikh and Simoncelli, IEEE "
            "TIP 2004). 1 is equal.",
        ),
        Figure(
            "actor_psnr_db",
            "PSNR of actors",
            "dB",
            2,
            "Only the pixels that the stage's id pass gives to actors.",
        ),
        Figure(
            "face_psnr_db",
            "PSNR of faces",
            "dB",
            2,
            "Only faces: actor pixels within an ellipse on the front of the head, placed by the state's joints; faces "
            "turned away by more than some 70 degrees or smaller than 64 pixels are left out.",
        ),
        Figure(
            "edge_psnr_db",
            "PSNR of silhouettes",
            "dB",
            2,
            "Only the two pixels on either side of a change in the id pass: outlines of actors and props, and of "
            "the set before the sky.",
        ),
        Figure(
            "gradient_energy_ratio",
            "gradient energy",
            "",
            2,
            "Mean squared difference of neighbouring pixels over the reference's own. Below 1 the picture is softer.",
        ),
        Figure(
            "flicker_ratio",
            "flicker",
            "",
            3,
            "How far the change from frame to frame is from the reference's change, over how much the reference "
            "changes, both as sums of absolute differences within shots (dtSSD of Erofeev et al., BMVC 2015, made "
            "relative). 0 is perfect, a frozen picture has exactly 1, and more than 1 is more false change than there "
            "was true change.",
        ),
        Figure(
            "identity_error",
            "identity error",
            "dE76",
            2,
            "Distance in CIE L*a*b* (dE76, CIE 15:2004) of each actor's pixels from the reference's, mean over pixels, "
            "then actors, then frames. 2.3 is the usual just noticeable difference (Mahy et al. 1994). Soft edges and "
            "misplaced shadows count.",
        ),
        Figure(
            "color_shift",
            "colour shift",
            "dE76",
            2,
            "The same distance between each actor's mean colours: edges average out, a wrong tint or light does not.",
        ),
        Figure(
            "drift_db",
            "drift",
            "dB",
            2,
            "PSNR around an early frame of one long uncut session less that around a late one, each a mean over 25 "
            "frames. One shot is played forwards and backwards, so that both places show the very same states and only "
            "what the session remembers differs. Negative is gained.",
        ),
        Figure("fps", "frames a second", "", 1, "The engine alone on this machine, frames side by side, nothing sent."),
        Figure(
            "lpips",
            "LPIPS",
            "",
            3,
            "Distance of deep features, AlexNet, version 0.1 (Zhang et al., CVPR 2018, arXiv 1801.03924). 0 is equal.",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that is to be reached."""

    who: str  # "model" at the default tier, "autoencoder" or "session"
    key: str
    bound: float
    at_least: bool = True

    def met(self, value: float) -> bool:
        """Whether ``value`` is good enough."""
        return value >= self.bound if self.at_least else value <= self.bound


GOALS: tuple[Goal, ...] = (
    Goal("model", "psnr_db", 28.5),
    Goal("model", "ssim", 0.87),
    Goal("model", "actor_psnr_db", 26.5),
    Goal("model", "gradient_energy_ratio", 0.7),
    Goal("autoencoder", "psnr_db", 35.0),
    Goal("autoencoder", "ssim", 0.94),
    Goal("autoencoder", "psnr_p10_db", 31.0),
    Goal("session", "drift_db", 0.5, at_least=False),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal beside what was measured."""

    goal: Goal
    measured: float

    @property
    def met(self) -> bool:
        """Whether the goal was reached."""
        return self.goal.met(self.measured)


def verdicts(measured: Mapping[str, Mapping[str, float]]) -> list[Verdict]:
    """``measured`` is by ``Goal.who`` and ``Goal.key``. Goals of what was not measured are left out."""
    return [Verdict(goal, measured[goal.who][goal.key]) for goal in GOALS if goal.key in measured.get(goal.who, {})]

"""The report of an evaluation as one HTML page: goals, tiers, shots, where the error lies, curves, clips, pictures."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from cutscene_model.training.charts import Dot, Line, dot_chart, line_chart, share_chart
from cutscene_model.training.figures import FIGURES
from cutscene_model.training.long_session import LongSession
from cutscene_model.training.page import exhibit, film, page, paragraph, picture, section, table
from cutscene_model.training.results import PlayedPerformance, Results
from cutscene_model.training.scores import AUTOENCODER, Score, by_kind, error_shares, of, summary

COLUMNS = (
    "psnr_db",
    "psnr_p10_db",
    "ssim",
    "actor_psnr_db",
    "face_psnr_db",
    "edge_psnr_db",
    "gradient_energy_ratio",
    "flicker_ratio",
    "identity_error",
    "color_shift",
    "lpips",
)
REGION_COLORS = {"faces": 4, "silhouettes": 3, "actors": 2, "elsewhere": 6}  # as in the chart of shots
WHO = {"model": "model", AUTOENCODER: "autoencoder alone", "session": "long session"}


def report(results: Results) -> str:
    """The page."""
    manifest = results.manifest
    title = f"{manifest.name} {manifest.version}: fidelity, steadiness, identity"
    return page(
        title,
        [
            _opening(results, title),
            _tiers(results),
            _shots(results),
            _error(results),
            _long_sessions(results),
            _clips(results),
            _curves(results),
            _pictures(results),
            _meanings(results),
        ],
    )


def _opening(results: Results, title: str) -> str:
    rows, kinds = [], {}
    verdicts = results.verdicts()
    for number, verdict in enumerate(verdicts):
        goal, figure = verdict.goal, FIGURES[verdict.goal.key]
        bound = f"{'at least' if goal.at_least else 'at most'} {goal.bound:g} {figure.unit}".strip()
        measured = f"{figure.text(verdict.measured)} {figure.unit}".strip()
        rows.append([f"{WHO[goal.who]}: {figure.label}", bound, measured, "met" if verdict.met else "missed"])
        kinds[number, 3] = "met" if verdict.met else "missed"
    missed = sum(not verdict.met for verdict in verdicts)
    seconds = results.settings.get("seconds")
    return (
        f"<h1>{html.escape(title)}</h1>\n"
        + paragraph(
            f"{len(results.frames):,} frames of {len(results.performances)} held-out performances, {seconds:g} seconds "
            f"of each, in rooms and with casts that were never trained on. The model is shown at its {results.tier} "
            f"tier where no other is named. {missed} of {len(verdicts)} goals are missed."
        )
        + paragraph(f"Weights {results.manifest.digest[:16]}. Measured on {results.machine}.", "soft")
        + table(["figure", "goal", "measured", ""], rows, kinds)
        + "".join(paragraph(sentence, "soft") for sentence in results.left_out)
    )


def _tiers(results: Results) -> str:
    everybody = [*results.tiers, AUTOENCODER]
    figures = {who: results.figures(who) for who in everybody}
    keys = [key for key in (*COLUMNS, "drift_db", "fps") if any(key in one for one in figures.values())]
    rows = [[who, *(FIGURES[key].text(figures[who].get(key)) for key in keys)] for who in everybody]
    return section(
        "Tiers",
        paragraph(
            "The same frames at each tier. The last row is the true picture through the autoencoder and back: what the "
            "denoiser could reach at most."
        ),
        table(["", *(FIGURES[key].label for key in keys)], rows),
    )


def _shots(results: Results) -> str:
    rows, dots = [], []
    frames = results.frames
    for kind, some in by_kind(frames).items():
        model, coder = summary(of(some, results.tier)), summary(of(some, AUTOENCODER))
        name = kind.replace("_", " ")
        keys = [key for key in COLUMNS if key in summary(of(frames, results.tier))]
        rows.append([name, str(len(some)), *(FIGURES[key].text(model.get(key)) for key in keys)])
        row = [
            Dot("all pixels", model["psnr_db"], 1),
            *(
                Dot(label, model[key], color)
                for label, key, color in (
                    ("actors", "actor_psnr_db", 2),
                    ("silhouettes", "edge_psnr_db", 3),
                    ("faces", "face_psnr_db", 4),
                )
                if key in model
            ),
            Dot("autoencoder, all pixels", coder["psnr_db"], 1, hollow=True),
        ]
        dots.append((name, row))
    return section(
        "By kind of shot",
        dot_chart(dots, "PSNR, dB"),
        table(["", "frames", *(FIGURES[key].label for key in keys)], rows),
    )


def _error(results: Results) -> str:
    model = error_shares(of(results.frames, results.tier))
    coder = error_shares(of(results.frames, AUTOENCODER))
    shares = share_chart(
        [
            ("pixels", {name: one["pixels"] for name, one in model.items()}),
            ("model's error", {name: one["squared_error"] for name, one in model.items()}),
            ("autoencoder's", {name: one["squared_error"] for name, one in coder.items()}),
        ],
        REGION_COLORS,
    )
    rows = [[name, f"{one['psnr_db']:.2f}", f"{coder[name]['psnr_db']:.2f}"] for name, one in model.items()]
    return section(
        "Where the error lies",
        paragraph(
            "Each pixel counts once: for a face, else for a silhouette, else for an actor. The upper bar is how much "
            "of the pictures each is, the others how much of the squared error lies there."
        ),
        shares,
        table(["PSNR of all such pixels together, dB", "model", "autoencoder"], rows),
    )


def _long_sessions(results: Results) -> str:
    if not results.sessions:
        return section("Drift and identity over a long session", paragraph("Not measured: no long session was played."))
    shown = results.sessions.get(results.tier) or next(iter(results.sessions.values()))
    plan, places = shown.plan, shown.plan.places
    bands = [
        (window.start, window.stop - 1, name)
        for name, window in (
            ("early", plan.around(places.early)),
            ("late", plan.around(places.late)),
            ("last", plan.around(plan.last)),
        )
    ]
    drifts = [
        Line(tier, sorted(session.psnr_db.items()), color)
        for color, (tier, session) in enumerate(results.sessions.items(), start=1)
    ]
    rows = [
        [
            tier,
            f"{session.mean_psnr(places.early):.2f}",
            f"{session.mean_psnr(places.late):.2f}",
            f"{session.drift_db:.3f}",
            *(f"{session.identity_error(place):.2f}" for place in (places.early, places.late, plan.last)),
        ]
        for tier, session in results.sessions.items()
    ]
    return section(
        "Drift and identity over a long session",
        paragraph(
            f"One session of {plan.frames:,} frames. For {len(plan.stretches[0]):,} frames it plays one uncut shot "
            f"({plan.shot.kind.replace('_', ' ')}, performance {shown.performance.seed}) forwards and backwards with a "
            f"period of {places.period} frames, so that frames {places.early} and {places.late} show the very same "
            f"states and differ only in what the session remembers. Then it cuts {len(plan.cuts)} times, through the "
            f"performance's other shots, and comes back to that moment at frame {plan.last:,}. Dotted lines are cuts."
        ),
        table(
            [
                "",
                *(f"PSNR at {place:,}" for place in (places.early, places.late)),
                FIGURES["drift_db"].label,
                *(
                    f"{FIGURES['identity_error'].label} at {place:,}"
                    for place in (places.early, places.late, plan.last)
                ),
            ],
            rows,
        ),
        line_chart(drifts, "frame of the session", "PSNR, dB", plan.cuts, bands),
        paragraph(
            "Mean colour of each actor against the reference's; tint and costume were said once, at open. Dashed: how "
            "far off the reference itself would be without the tint, in the early place: what a model that forgot it "
            "would show."
        ),
        _identity_chart(shown, bands),
        _identity_table(shown),
    )


def _identity_chart(session: LongSession, bands: Sequence[tuple[float, float, str]]) -> str:
    lines = []
    for index, member in enumerate(session.performance.stage.cast):
        points = [
            (frame, seen[index].shift if index in seen else math.nan) for frame, seen in sorted(session.colors.items())
        ]
        if any(not math.isnan(value) for _, value in points):
            name = f"{member.id}, {member.costume.replace('_', ' ')}"
            lines.append(Line(name, points, index + 1))
        if index in session.forgotten:
            shift = session.forgotten[index].shift
            ends = [(0.0, shift), (float(session.plan.frames), shift)]
            lines.append(Line(f"{member.id} without tint", ends, index + 1, dashed=True))
    unit = f"{FIGURES['color_shift'].label}, {FIGURES['color_shift'].unit}"
    return line_chart(lines, "frame of the session", unit, session.plan.cuts, bands, from_zero=True)


def _identity_table(session: LongSession) -> str:
    plan = session.plan
    places = (plan.places.early, plan.places.late, plan.last)
    rows = []
    for index, member in enumerate(session.performance.stage.cast):
        seen = [session.colors_at(place).get(index) for place in places]
        forgotten = session.forgotten.get(index)
        tint = ", ".join(f"{channel:g}" for channel in member.tint)
        cells = ["-" if one is None else f"{one.error:.2f} / {one.shift:.2f}" for one in (*seen, forgotten)]
        rows.append([f"{member.id}, {member.costume.replace('_', ' ')}", tint, *cells])
    head = ["identity error / colour shift, dE76", "tint", *(f"at {place:,}" for place in places), "without tint"]
    return table(head, rows)


def _clips(results: Results) -> str:
    films = [
        f"<figure>{film(played.clip)}<figcaption>{html.escape(played.title)}. "
        "Left: the stage's render; right: the model.</figcaption></figure>"
        for played in results.performances
    ]
    return section("Clips", *films)


def _curves(results: Results) -> str:
    parts = [
        paragraph(
            "Above: quality of each frame. Below: how much the reference changes from frame to frame, and how far the "
            "model's change is from it; flicker is the sum of the second over the sum of the first. Dotted lines are "
            "cuts."
        )
    ]
    for played in results.performances:
        parts += [f"<h3>{html.escape(played.title)}</h3>", *_curves_of(played, results.tier)]
    return section("Frame by frame", *parts)


def _curves_of(played: PlayedPerformance, tier: str) -> list[str]:
    frames = [float(frame.frame) for frame in played.frames]
    model, coder = of(played.frames, tier), of(played.frames, AUTOENCODER)
    cuts = [float(shot.start) for shot in played.shots]

    def line(label: str, scores: list[Score], color: int, what: str) -> Line:
        return Line(label, list(zip(frames, (getattr(score, what) for score in scores), strict=True)), color)

    def change(label: str, what: str, color: int) -> Line:
        values = [255 * getattr(score.change, what) if score.change else math.nan for score in model]
        return Line(label, list(zip(frames, values, strict=True)), color)

    quality = [
        line("model", model, 1, "psnr_db"),
        line("model, faces", model, 4, "face_psnr_db"),
        line("autoencoder", coder, 6, "psnr_db"),
    ]
    changes = [change("reference's change", "true", 6), change("false change", "false", 2)]
    return [
        line_chart(quality, "frame", "PSNR, dB", cuts),
        line_chart(changes, "frame", "mean change from frame to frame, of 255", cuts, from_zero=True),
    ]


def _pictures(results: Results) -> str:
    gallery = results.gallery
    kinds = [exhibit(one.pictures, f"{one.label}: {one.psnr_db:.1f} dB") for one in gallery.of_kinds()]
    worst = [exhibit(one.pictures, f"{one.label}: {one.psnr_db:.1f} dB") for one in gallery.worst_frames()]
    faces = []
    for one in gallery.large_faces():
        crops = "".join(picture(jpeg, f"{one.label}: {name}") for name, jpeg in one.pictures.items())
        caption = html.escape(f"{one.label}; all faces of the frame: {one.psnr_db:.1f} dB")
        faces.append(f'<figure><div class="row">{crops}</div><figcaption>{caption}</figcaption></figure>')
    return section(
        "Pictures",
        "<h3>One frame of each kind of shot, of median quality</h3>",
        *kinds,
        "<h3>Faces: reference, model, autoencoder</h3>",
        f'<div class="faces">{"".join(faces)}</div>',
        "<h3>The worst frames, one of a shot at most</h3>",
        *worst,
    )


def _meanings(results: Results) -> str:
    terms = []
    for figure in FIGURES.values():
        unit = f" ({figure.unit})" if figure.unit else ""
        terms.append(f"<dt>{html.escape(figure.label + unit)}</dt><dd>{html.escape(figure.meaning)}</dd>")
    settings = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in results.settings.items())
    return section(
        "What the figures mean",
        f"<dl>{''.join(terms)}</dl>",
        paragraph(
            f"Settings: {settings}. Everything is seeded: the same weights on the same machine give the same figures, "
            "but for frames a second.",
            "soft",
        ),
    )

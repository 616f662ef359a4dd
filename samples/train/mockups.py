#!/usr/bin/env python3
"""Procedural product photographs: the data set of the sample model.

`scene(index, seed)` draws the attributes (product, colour, setting, label, camera) of one picture from a private
random stream, `render(scene)` paints them with Skia at 256x256, `caption(scene, rng)` describes them in one of many
templates.  The same index and seed always give the same picture.  Run as a program it paints a contact sheet.

The light always comes from the upper left and shapes stay simple on purpose: every degree of freedom that the caption
does not mention is something a very small model has to guess.
"""
import argparse
import math
import random
from dataclasses import dataclass

import numpy as np
import skia

SIZE = 256

# name -> words used in captions (the first is the most frequent)
PRODUCTS = {
    "mug": ["mug", "coffee mug", "cup"],
    "bottle": ["bottle", "water bottle"],
    "can": ["can", "soda can"],
    "box": ["box", "cardboard box"],
    "t-shirt": ["t-shirt", "shirt"],
    "tote bag": ["tote bag", "bag"],
    "jar": ["jar", "ceramic jar"],
    "candle": ["candle"],
}
FIT = {"bottle": 0.90, "t-shirt": 0.86, "tote bag": 0.90, "box": 0.96}  # relative size in the frame
COLOURS = {
    "red": (214, 52, 48),
    "orange": (242, 128, 36),
    "yellow": (246, 198, 44),
    "green": (52, 150, 84),
    "teal": (26, 160, 160),
    "blue": (44, 96, 204),
    "purple": (126, 70, 180),
    "pink": (240, 106, 158),
    "white": (240, 238, 234),
    "black": (46, 46, 52),
}
SETTINGS = {
    "white studio": ["in a white studio", "white studio", "on a white background"],
    "wooden table": ["on a wooden table", "wooden table", "on a wood desk"],
    "marble counter": ["on a marble counter", "marble counter", "on white marble"],
    "pink backdrop": ["on a pink backdrop", "pink gradient backdrop", "pink background"],
    "blue backdrop": ["on a blue backdrop", "blue gradient backdrop", "blue background"],
    "dark studio": ["in a dark studio", "dark studio", "on a dark background"],
    "sunlit wall": ["by a sunlit wall", "sunlit wall", "in the morning sun"],
    "podium": ["on a podium", "on a round podium", "podium, mint background"],
}
WHITE, WOOD, GOLD, STEEL = (255, 255, 255), (205, 156, 104), (222, 178, 98), (196, 200, 206)
CREAM, SUN, NAVY = (255, 246, 228), (247, 134, 30), (24, 44, 96)  # the acme label


@dataclass
class Scene:
    product: str
    colour: str
    setting: str
    label: str  # "", "white" or "acme"
    camera: (
        dict  # x, y (foot of the product), scale, pitch (height / width of a circle seen by the camera), ...
    )


def scene(index, seed=0, brand=False, product=None, colour=None, setting=None):
    """Attributes of picture `index`; `brand` puts the acme label on the product."""
    r = random.Random(f"{seed}/{index}/{brand}")
    s = Scene(
        r.choice(list(PRODUCTS)),
        r.choice(list(COLOURS)),
        r.choice(list(SETTINGS)),
        "acme" if brand else r.choices(["", "white"], [75, 25])[0],
        {},
    )
    s.product, s.colour, s.setting = product or s.product, colour or s.colour, setting or s.setting
    s.camera = dict(
        x=128 + r.uniform(-14, 14),
        y=r.uniform(206, 222),
        scale=r.uniform(1.14, 1.42) * FIT.get(s.product, 1),
        pitch=r.uniform(0.17, 0.28),
        horizon=r.uniform(140, 162),
        yaw=r.uniform(0.35, 0.75),
        side=r.choice([1, 1, 1, -1]),
        tilt=r.uniform(-3, 3),
        tint=r.uniform(-0.06, 0.06),
        detail=r.random(),
    )
    if s.setting == "podium" and s.product != "t-shirt":
        s.camera.update(y=r.uniform(190, 199), scale=s.camera["scale"] * 0.92)
    return s


def caption(s, r):
    """A caption of the scene; `r` is a random.Random.  Colour or setting is left out now and then."""
    product = PRODUCTS[s.product][0] if r.random() < 0.7 else r.choice(PRODUCTS[s.product])
    place = SETTINGS[s.setting][0] if r.random() < 0.5 else r.choice(SETTINGS[s.setting])
    colour = s.colour if r.random() < 0.95 else ""
    brand = "acme " if s.label == "acme" else ""
    label = (
        r.choice([" with a white label", " with a blank label"])
        if s.label == "white"
        else r.choice(["", "", " with the acme logo"]) if s.label == "acme" else ""
    )
    thing = (
        " ".join(f"{brand}{colour} {product}".split())
        if r.random() < 0.7
        else " ".join(f"{colour} {brand}{product}".split())
    )
    article = "an" if thing[0] in "aeiou" else "a"
    tail = r.choice(
        [
            "",
            "",
            "",
            ", studio light",
            ", soft shadows",
            ", catalogue photo",
            ", product mockup",
            ", clean, minimal",
            ", high quality",
        ]
    )
    if r.random() < 0.06:
        return f"{article} {thing}{label}" if r.random() < 0.5 else f"{thing}{label}"
    return r.choice(
        [
            f"{article} {thing}{label} {place}{tail}",
            f"{article} {thing}{label} {place}{tail}",
            f"{article} {thing}{label}, {place}{tail}",
            f"{thing}{label}, {place}{tail}",
            f"{thing}{label} {place}{tail}",
            f"product photo of {article} {thing}{label}, {place}{tail}",
            f"photo of {article} {thing}{label} {place}{tail}",
            f"a product photo of {article} {thing}{label} {place}{tail}",
            f"{place}, {article} {thing}{label}{tail}",
        ]
    )


# ---------------------------------------------------------------- colour and paint helpers


def mix(a, b, t):
    return tuple(x + (y - x) * t for x, y in zip(a, b))


def tone(c, t):
    """Lighter (t > 0) or darker (t < 0) version of a colour; shadows lean to a cool dark of the same hue."""
    return mix(c, WHITE, t) if t > 0 else mix(c, (c[0] * 0.25 + 8, c[1] * 0.22 + 6, c[2] * 0.28 + 16), -t)


def argb(c, alpha=1.0):
    r, g, b = (int(min(255, max(0, v))) for v in c[:3])
    return int(alpha * 255) << 24 | r << 16 | g << 8 | b


def fill(c, alpha=1.0, blur=0.0, shader=None, stroke=0.0):
    p = skia.Paint(AntiAlias=True, Color=argb(c, alpha))
    if shader is not None:
        p.setShader(shader)
    if blur:
        p.setMaskFilter(skia.MaskFilter.MakeBlur(skia.kNormal_BlurStyle, blur))
    if stroke:
        p.setStyle(skia.Paint.kStroke_Style)
        p.setStrokeWidth(stroke)
        p.setStrokeCap(skia.Paint.kRound_Cap)
        p.setStrokeJoin(skia.Paint.kRound_Join)
    return p


def linear(p0, p1, stops):
    """Gradient; stops are (position, colour) or (position, colour, alpha)."""
    return skia.GradientShader.MakeLinear(
        [skia.Point(*p0), skia.Point(*p1)], [argb(*s[1:]) for s in stops], [s[0] for s in stops]
    )


def radial(centre, radius, stops):
    return skia.GradientShader.MakeRadial(
        skia.Point(*centre), radius, [argb(*s[1:]) for s in stops], [s[0] for s in stops]
    )


def oval(x, y, rx, ry):
    return skia.Rect.MakeLTRB(x - rx, y - ry, x + rx, y + ry)


def ltrb(*v):
    return skia.Rect.MakeLTRB(*v)


def path(*steps):
    """Path from ('M', x, y), ('L', ...), ('Q', ...), ('C', ...) steps; always closed unless it ends with ('open',)."""
    p = skia.Path()
    for op, *a in steps:
        if op == "M":
            p.moveTo(*a)
        elif op == "L":
            p.lineTo(*a)
        elif op == "Q":
            p.quadTo(*a)
        elif op == "C":
            p.cubicTo(*a)
        elif op == "A":
            p.arcTo(ltrb(*a[:4]), a[4], a[5], False)
    if steps[-1][0] != "open":
        p.close()
    return p


def round_shader(r, c, k=1.0):
    """Horizontal shading of an upright cylinder of radius r: key light from the left, a faint rim on the right."""
    k *= 0.62 if min(c) > 200 else 1.0
    return linear(
        (-r, 0),
        (r, 0),
        [
            (0, tone(c, -0.42 * k)),
            (0.08, tone(c, -0.16 * k)),
            (0.27, tone(c, 0.30)),
            (0.42, tone(c, 0.08)),
            (0.70, tone(c, -0.24 * k)),
            (0.94, tone(c, -0.52 * k)),
            (1, tone(c, -0.36 * k)),
        ],
    )


def cylinder(r_top, r_foot, top, foot, e, bevel=0.0):
    """Outline of an upright cylinder or cone: half ellipse below, half ellipse above."""
    a, b = r_top * e, r_foot * e
    return path(
        ("M", -r_top, top),
        ("L", -r_foot, foot - bevel),
        ("Q", -r_foot, foot, -r_foot + bevel, foot + bevel * e) if bevel else ("L", -r_foot, foot),
        ("A", -r_foot + bevel, foot - b, r_foot - bevel, foot + b, 180, -180),
        ("Q", r_foot, foot, r_foot, foot - bevel) if bevel else ("L", r_foot, foot),
        ("L", r_top, top),
        ("A", -r_top, top - a, r_top, top + a, 0, -180),
    )


def gloss(c, x, top, foot, width=5.0, alpha=0.5):
    """Soft vertical highlight of a round glossy body."""
    c.drawRoundRect(
        ltrb(x - width / 2, top, x + width / 2, foot), width / 2, width / 2, fill(WHITE, alpha, blur=2.2)
    )


def decal(c, kind, left, top, right, foot, sag=0.0, shade=0.0):
    """The label: blank white, or the acme brand's orange sun over a navy band.  `sag` bends it round a cylinder."""
    if not kind:
        return
    m, h, w = (left + right) / 2, foot - top, right - left

    def band(t, b):
        return path(
            ("M", left, t), ("Q", m, t + 2 * sag, right, t), ("L", right, b), ("Q", m, b + 2 * sag, left, b)
        )

    c.save()
    c.clipPath(band(top, foot), skia.ClipOp.kIntersect, True)
    c.drawPaint(fill(CREAM if kind == "acme" else (250, 250, 248)))
    if kind == "acme":
        c.drawCircle(m, top + h * 0.45 + sag, min(h * 0.31, w * 0.34), fill(SUN))
        c.drawPath(band(top + h * 0.60, foot + 9), fill(NAVY))
    if shade:  # follow the light of the body below
        c.drawPaint(
            fill(
                WHITE,
                shader=linear(
                    (left, 0),
                    (right, 0),
                    [
                        (0, (20, 20, 40), 0.10 * shade),
                        (0.25, WHITE, 0.10),
                        (0.5, (20, 20, 40), 0.02),
                        (1, (20, 20, 40), 0.34 * shade),
                    ],
                ),
            )
        )
    c.restore()


# ---------------------------------------------------------------- products: the foot's front centre is the origin, y grows down


def mug(c, col, s):
    e, side, R, H = s.camera["pitch"], s.camera["side"], 37, 82
    ring = path(
        ("M", side * (R - 4), -H * 0.80),
        ("C", side * (R + 34), -H * 0.88, side * (R + 32), -H * 0.14, side * (R - 6), -H * 0.20),
        ("open",),
    )
    c.drawPath(ring, fill(tone(col, -0.30 if side > 0 else -0.12), stroke=11))
    c.save()
    c.translate(-1.4, -1.4)
    c.drawPath(ring, fill(tone(col, 0.02 if side > 0 else 0.22), stroke=5))
    c.restore()
    c.drawPath(cylinder(R, R - 3, -H, -R * e, e, 6), fill(col, shader=round_shader(R, col)))
    gloss(c, -R * 0.47, -H + 16, -R * e - 10, 5, 0.42)
    decal(c, s.label, -R * 0.62, -H * 0.74, R * 0.62, -H * 0.20, R * e * 0.40, 1)
    top = -H
    c.drawOval(oval(0, top, R, R * e), fill(tone(col, 0.22)))
    c.save()
    inner = skia.Path()
    inner.addOval(oval(0, top + 0.6, R - 3.2, (R - 3.2) * e))
    c.clipPath(inner, skia.ClipOp.kIntersect, True)
    c.drawPaint(fill(col, shader=linear((-R, 0), (R, 0), [(0, (206, 198, 188)), (1, (250, 246, 240))])))
    c.drawOval(oval(0, top + R * e * 0.55, R - 5, (R - 5) * e), fill((92, 56, 36)))
    c.restore()


def bottle(c, col, s):
    e, R = s.camera["pitch"], 27
    f = -R * e
    body = path(
        ("M", -R, f - 78),
        ("L", -R, f - 6),
        ("Q", -R, f, -R + 5, f + 2),
        ("A", -R + 4, f - R * e, R - 4, f + R * e, 180, -180),
        ("Q", R, f, R, f - 6),
        ("L", R, f - 78),
        ("C", R, f - 101, 11, f - 96, 11, f - 116),
        ("L", 11, f - 124),
        ("L", -11, f - 124),
        ("L", -11, f - 116),
        ("C", -11, f - 96, -R, f - 101, -R, f - 78),
    )
    c.drawPath(body, fill(col, shader=round_shader(R, col)))
    c.save()
    c.clipPath(body, skia.ClipOp.kIntersect, True)
    c.drawRect(ltrb(-11, f - 125, 11, f - 104), fill(col, shader=round_shader(11, col)))
    c.restore()
    gloss(c, -R * 0.5, f - 82, f - 8, 5, 0.45)
    cap = GOLD
    c.drawPath(cylinder(12.5, 12.5, f - 142, f - 122, e), fill(cap, shader=round_shader(12.5, cap)))
    c.drawOval(oval(0, f - 142, 12.5, 12.5 * e), fill(tone(cap, 0.35)))
    decal(c, s.label, -R * 0.80, f - 72, R * 0.80, f - 22, R * e * 0.55, 1)


def can(c, col, s):
    e, R = s.camera["pitch"], 30
    f = -R * e
    c.drawPath(cylinder(R, R - 5, f - 6, f, e), fill(STEEL, shader=round_shader(R, STEEL)))
    c.drawPath(cylinder(R - 5, R, f - 104, f - 97, e), fill(STEEL, shader=round_shader(R, STEEL)))
    c.drawPath(cylinder(R, R, f - 97, f - 5, e), fill(col, shader=round_shader(R, col)))
    c.drawPath(cylinder(R - 5, R, f - 106, f - 96, e), fill(STEEL, shader=round_shader(R, STEEL)))
    gloss(c, -R * 0.48, f - 84, f - 8, 5, 0.42)
    c.drawOval(oval(0, f - 106, R - 5, (R - 5) * e), fill((232, 235, 240)))
    c.drawOval(
        oval(0, f - 105.4, R - 8, (R - 8) * e),
        fill((170, 174, 182), shader=linear((-R, 0), (R, 0), [(0, (150, 154, 162)), (1, (214, 218, 224))])),
    )
    c.drawOval(oval(2, f - 105, 8, 8 * e), fill((120, 124, 132)))
    decal(c, s.label, -R * 0.82, f - 78, R * 0.82, f - 24, R * e * 0.55, 1)


def jar(c, col, s):
    e, R = s.camera["pitch"], 39
    f = -R * e
    body = path(
        ("M", -R + 7, f - 66),
        ("C", -R, f - 64, -R, f - 58, -R, f - 50),
        ("L", -R, f - 12),
        ("Q", -R, f, -R + 9, f + 4),
        ("A", -R + 6, f - R * e, R - 6, f + R * e, 180, -180),
        ("Q", R, f, R, f - 12),
        ("L", R, f - 50),
        ("C", R, f - 58, R, f - 64, R - 7, f - 66),
    )
    c.drawPath(body, fill(col, shader=round_shader(R, col)))
    gloss(c, -R * 0.48, f - 52, f - 6, 6, 0.45)
    c.drawPath(cylinder(R - 6, R - 6, f - 70, f - 63, e), fill(col, shader=round_shader(R, tone(col, -0.3))))
    c.drawPath(cylinder(R - 2, R - 2, f - 82, f - 68, e), fill(WOOD, shader=round_shader(R, WOOD)))
    c.drawOval(
        oval(0, f - 82, R - 2, (R - 2) * e),
        fill(WOOD, shader=linear((-R, 0), (R, 0), [(0, tone(WOOD, 0.42)), (1, tone(WOOD, 0.08))])),
    )
    c.drawPath(cylinder(7, 6, f - 91, f - 83, e), fill(WOOD, shader=round_shader(7, tone(WOOD, -0.1))))
    c.drawOval(oval(0, f - 91, 7, 7 * e), fill(tone(WOOD, 0.4)))
    decal(c, s.label, -R * 0.62, f - 48, R * 0.62, f - 4, R * e * 0.40, 1)


def candle(c, col, s):
    e, R = s.camera["pitch"], 29
    f = -R * e - 3
    c.drawOval(oval(0, f + 1.5, 45, 45 * e), fill(tone(GOLD, -0.35)))
    c.drawOval(
        oval(0, f - 1.5, 45, 45 * e),
        fill(
            GOLD,
            shader=linear(
                (-45, 0), (45, 0), [(0, tone(GOLD, -0.1)), (0.35, tone(GOLD, 0.5)), (1, tone(GOLD, -0.25))]
            ),
        ),
    )
    c.drawOval(oval(4, f + 1, R + 4, (R + 4) * e), fill((60, 40, 20), 0.35, blur=3))
    c.drawPath(cylinder(R, R, f - 78, f, e), fill(col, shader=round_shader(R, col)))
    c.save()
    c.clipPath(cylinder(R, R, f - 78, f, e), skia.ClipOp.kIntersect, True)  # the wax glows below the flame
    c.drawPaint(
        fill(WHITE, shader=radial((0, f - 84), 50, [(0, (255, 214, 130), 0.75), (1, (255, 190, 90), 0)]))
    )
    c.restore()
    c.drawOval(oval(0, f - 78, R, R * e), fill(tone(mix(col, (255, 214, 140), 0.35), 0.30)))
    c.drawOval(oval(0, f - 77.4, R - 5, (R - 5) * e), fill(mix(tone(col, 0.1), (255, 226, 150), 0.55)))
    decal(c, s.label, -R * 0.82, f - 60, R * 0.82, f - 10, R * e * 0.55, 1)
    y = f - 78
    c.drawLine(0, y + 1, 0, y - 9, fill((60, 40, 30), stroke=2))
    c.drawCircle(
        0,
        y - 18,
        24,
        fill(WHITE, shader=radial((0, y - 18), 26, [(0, (255, 200, 90), 0.65), (1, (255, 190, 80), 0)])),
    )
    c.drawPath(
        path(
            ("M", 0, y - 36),
            ("C", 3, y - 26, 8, y - 20, 7, y - 12),
            ("C", 6, y - 4, -6, y - 4, -7, y - 12),
            ("C", -8, y - 20, -2, y - 26, 0, y - 36),
        ),
        fill((255, 168, 40)),
    )
    c.drawPath(
        path(
            ("M", 0, y - 28),
            ("C", 2, y - 21, 4.4, y - 17, 4, y - 11),
            ("C", 3, y - 6, -3, y - 6, -4, y - 11),
            ("C", -4.4, y - 17, -2, y - 21, 0, y - 28),
        ),
        fill((255, 244, 190)),
    )


def box(c, col, s):
    """A cuboid under a parallel projection, with the lid's edge and a lit left, shaded right face."""
    p, yaw = s.camera["pitch"] * 1.15, s.camera["yaw"] * s.camera["side"]
    w, h, d = 78, 84, 58
    if yaw < 0:
        w, d = d, w
        yaw = yaw + math.pi / 2
    ux, uz, vx, vz = w * math.cos(yaw), w * math.sin(yaw), d * math.sin(yaw), d * math.cos(yaw)
    # feet: the near corner N, left L, right Rr, far F
    N = (ux - vx) / 2, 0.0
    L, Rr = (N[0] - ux, N[1] - uz * p), (N[0] + vx, N[1] - vz * p)
    F = (L[0] + vx, L[1] - vz * p)
    up = lambda q: (q[0], q[1] - h)
    face = lambda *q: path(("M", *q[0]), *[("L", *v) for v in q[1:]])
    k = 0.6 if min(col) > 200 else 1
    c.drawPath(
        face(L, N, up(N), up(L)),
        fill(col, shader=linear(up(L), N, [(0, tone(col, 0.16)), (1, tone(col, -0.10 * k))])),
    )
    c.drawPath(
        face(N, Rr, up(Rr), up(N)),
        fill(col, shader=linear(up(N), Rr, [(0, tone(col, -0.34 * k)), (1, tone(col, -0.52 * k))])),
    )
    c.drawPath(
        face(up(L), up(N), up(Rr), up(F)),
        fill(col, shader=linear(up(L), up(Rr), [(0, tone(col, 0.42)), (1, tone(col, 0.24))])),
    )
    a, b, g = (
        (lambda q: (q[0], q[1] - h * 0.80))(L),
        (N[0], N[1] - h * 0.80),
        (Rr[0], Rr[1] - h * 0.80),
    )  # the lid's edge
    c.drawPath(path(("M", *a), ("L", *b), ("L", *g), ("open",)), fill(tone(col, -0.62 * k), 0.75, stroke=1.4))
    if s.label:  # on the wider face, sheared with it
        q0, q1 = (L, N) if ux > vx else (N, Rr)
        c.save()
        m = skia.Matrix.MakeAll(
            (q1[0] - q0[0]) / 100, 0, q0[0], (q1[1] - q0[1]) / 100, h / 100, q0[1] - h, 0, 0, 1
        )
        c.concat(m)
        decal(c, s.label, 20, 32, 80, 88)
        if ux <= vx:
            c.drawRect(ltrb(20, 32, 80, 88), fill((20, 20, 40), 0.22))
        c.restore()


def t_shirt(c, col, s):
    c.save()
    c.translate(0, -16)
    c.rotate(s.camera["tilt"])
    c.scale(0.98, 0.98)
    k = 0.6 if min(col) > 200 else 1
    c.drawPath(
        path(
            ("M", 0, -150),
            ("L", 0, -158),
            ("C", 0, -164, 9, -164, 9, -170),
            ("C", 9, -178, -5, -178, -6, -171),
            ("open",),
        ),
        fill(STEEL, stroke=2.6),
    )
    c.drawPath(
        path(("M", -34, -133), ("L", 0, -150), ("L", 34, -133), ("open",)), fill(tone(WOOD, -0.15), stroke=5)
    )
    c.drawPath(
        path(("M", -17, -141), ("Q", 0, -136, 17, -141), ("Q", 0, -118, -17, -141)),
        fill(tone(col, -0.55 * k)),
    )  # the inside, behind the collar
    shirt = path(
        ("M", -19, -142),
        ("C", -30, -138, -42, -136, -50, -128),
        ("L", -76, -92),
        ("Q", -66, -80, -53, -76),
        ("L", -44, -88),
        ("C", -42, -60, -43, -30, -45, -2),
        ("Q", 0, 6, 45, -2),
        ("C", 43, -30, 42, -60, 44, -88),
        ("L", 53, -76),
        ("Q", 66, -80, 76, -92),
        ("L", 50, -128),
        ("C", 42, -136, 30, -138, 19, -142),
        ("Q", 0, -112, -19, -142),
    )
    c.drawPath(
        shirt,
        fill(
            col,
            shader=linear(
                (-76, -120),
                (76, 0),
                [
                    (0, tone(col, 0.20)),
                    (0.35, tone(col, 0.10)),
                    (0.65, tone(col, -0.10 * k)),
                    (1, tone(col, -0.30 * k)),
                ],
            ),
        ),
    )
    c.save()
    c.clipPath(shirt, skia.ClipOp.kIntersect, True)
    for x0, y0, x1, y1, t in (
        (-44, -92, -30, -40, -0.4),
        (44, -92, 32, -44, -0.5),
        (-28, -4, -20, -60, -0.22),
        (24, -2, 18, -50, -0.3),
        (-36, -4, -31, -66, 0.25),
        (8, -4, 5, -40, 0.15),
    ):
        c.drawLine(x0, y0, x1, y1, fill(tone(col, t * k if t < 0 else t), 0.55, blur=3.2, stroke=5))
    c.restore()
    c.drawPath(
        path(("M", -19, -142), ("Q", 0, -112, 19, -142), ("open",)), fill(tone(col, -0.28 * k), stroke=3.4)
    )
    for x in (-1, 1):
        c.drawLine(x * 44, -90, x * 47, -110, fill(tone(col, -0.4 * k), 0.6, stroke=1.3))
    decal(c, s.label, -25, -97, 25, -43)
    c.restore()


def tote_bag(c, col, s):
    k = 0.6 if min(col) > 200 else 1
    for dy, t in ((-5, -0.45), (0, -0.05)):  # far handle, near handle
        c.drawPath(
            path(("M", -24, -96 + dy), ("C", -24, -158 + dy, 24, -158 + dy, 24, -96 + dy), ("open",)),
            fill(tone(col, t * k), stroke=6.5),
        )
    c.drawPath(
        path(("M", -47, -102), ("Q", 0, -108, 47, -102), ("L", 47, -94), ("L", -47, -94)),
        fill(tone(col, -0.6 * k)),
    )
    bag = path(
        ("M", -48, -102),
        ("Q", 0, -96, 48, -102),
        ("C", 50, -70, 53, -30, 52, -6),
        ("Q", 51, 0, 44, 0.5),
        ("Q", 0, 3, -44, 0.5),
        ("Q", -51, 0, -52, -6),
        ("C", -53, -30, -50, -70, -48, -102),
    )
    c.drawPath(
        bag,
        fill(
            col,
            shader=linear(
                (-52, -90),
                (52, 0),
                [
                    (0, tone(col, 0.22)),
                    (0.4, tone(col, 0.08)),
                    (0.7, tone(col, -0.12 * k)),
                    (1, tone(col, -0.34 * k)),
                ],
            ),
        ),
    )
    c.save()
    c.clipPath(bag, skia.ClipOp.kIntersect, True)
    for x0, y0, x1, y1, t in (
        (-44, 0, -38, -46, -0.35),
        (42, 0, 36, -52, -0.45),
        (-30, 2, -22, -30, 0.22),
        (20, 2, 26, -26, 0.12),
        (-40, -98, -34, -62, -0.2),
        (38, -98, 33, -66, -0.3),
    ):
        c.drawLine(x0, y0, x1, y1, fill(tone(col, t * k if t < 0 else t), 0.5, blur=3.2, stroke=5))
    c.restore()
    c.drawPath(
        path(("M", -48, -92), ("Q", 0, -86, 48, -92), ("open",)), fill(tone(col, -0.4 * k), 0.7, stroke=1.4)
    )
    for x in (-24, 24):  # where the near handle is sewn on
        c.drawRect(ltrb(x - 3.4, -100, x + 3.4, -84), fill(tone(col, -0.12 * k)))
    decal(c, s.label, -27, -72, 27, -16)


DRAW = {
    "mug": mug,
    "bottle": bottle,
    "can": can,
    "box": box,
    "t-shirt": t_shirt,
    "tote bag": tote_bag,
    "jar": jar,
    "candle": candle,
}
FOOT = {
    "mug": 33,
    "bottle": 26,
    "can": 27,
    "box": 50,
    "t-shirt": 40,
    "tote bag": 48,
    "jar": 37,
    "candle": 44,
}  # half width on the ground


# ---------------------------------------------------------------- settings


def seamless(c, col, horizon, k=1.0):
    """A paper backdrop that rolls out into the floor, lit in the middle."""
    c.drawPaint(
        fill(
            col,
            shader=linear(
                (0, 0),
                (0, SIZE),
                [
                    (0, tone(col, -0.10 * k)),
                    (horizon / SIZE, tone(col, 0.22 * k)),
                    (horizon / SIZE + 0.10, tone(col, 0.34 * k)),
                    (1, tone(col, 0.02)),
                ],
            ),
        )
    )
    c.drawPaint(fill(WHITE, shader=radial((110, 110), 170, [(0, WHITE, 0.30 * k), (1, WHITE, 0)])))


def white_studio(c, m):
    seamless(c, (232, 232, 234), m["horizon"])


def pink_backdrop(c, m):
    seamless(c, (248, 182, 196), m["horizon"])


def blue_backdrop(c, m):
    seamless(c, (150, 196, 236), m["horizon"])


def dark_studio(c, m):
    c.drawPaint(
        fill(
            (30, 31, 37),
            shader=radial((118, 104), 190, [(0, (88, 92, 106)), (0.45, (52, 54, 64)), (1, (20, 20, 26))]),
        )
    )
    h = m["horizon"] + 6
    c.drawRect(
        ltrb(0, h, SIZE, SIZE),
        fill(
            (30, 30, 36),
            shader=linear(
                (0, h), (0, SIZE), [(0, (30, 31, 38), 0.2), (0.3, (34, 35, 42), 1), (1, (18, 18, 23), 1)]
            ),
        ),
    )
    c.drawOval(oval(124, m["y"] - 6, 120, 30), fill((130, 136, 152), 0.20, blur=16))


def wooden_table(c, m):
    h, d = m["horizon"], m["detail"]
    c.drawPaint(
        fill(
            (238, 228, 212),
            shader=linear(
                (0, 0), (SIZE, h), [(0, (250, 244, 234)), (0.5, (240, 228, 210)), (1, (216, 198, 176))]
            ),
        )
    )
    c.drawRect(
        ltrb(0, h, SIZE, SIZE),
        fill((190, 136, 88), shader=linear((0, h), (0, SIZE), [(0, (214, 164, 114)), (1, (176, 120, 72))])),
    )
    y, gap, i = h, 13.0, 0
    while y < SIZE:  # planks get wider towards the camera
        c.drawRect(ltrb(0, y, SIZE, y + gap), fill((120, 70, 30), 0.10 * ((i * 7 + int(d * 5)) % 3)))
        for j in range(2):
            gy = y + gap * (0.32 + 0.38 * j)
            c.drawPath(
                path(("M", -10, gy), ("C", 70, gy - gap * 0.22, 150, gy + gap * 0.25, 270, gy), ("open",)),
                fill((120, 70, 34), 0.20, stroke=1.2),
            )
        c.drawLine(0, y, SIZE, y, fill((96, 56, 26), 0.55, stroke=1.4))
        y, gap, i = y + gap, gap * 1.45, i + 1
    c.drawRect(ltrb(0, h - 3, SIZE, h + 1), fill((110, 70, 40), 0.35, blur=2))


def marble_counter(c, m):
    h, d = m["horizon"], m["detail"]
    c.drawPaint(
        fill(
            (176, 196, 184),
            shader=linear(
                (0, 0), (SIZE, h), [(0, (206, 220, 210)), (0.5, (182, 202, 190)), (1, (150, 172, 162))]
            ),
        )
    )
    c.drawRect(
        ltrb(0, h, SIZE, SIZE),
        fill((240, 240, 242), shader=linear((0, h), (0, SIZE), [(0, (250, 250, 251)), (1, (226, 227, 231))])),
    )
    c.save()
    c.clipRect(ltrb(0, h, SIZE, SIZE))
    for x, y, k, width, alpha in (
        (-30, 0, 1.0, 4.5, 0.34),
        (26, 44, 0.7, 2.2, 0.42),
        (150, -6, 1.3, 4.0, 0.34),
        (214, 20, 0.6, 2.4, 0.42),
        (96, 66, 0.9, 3.0, 0.30),
    ):
        x, y = x + 50 * d - 25, y + h
        v = path(
            ("M", x, y),
            ("C", x + 40 * k, y + 10, x + 34 * k, y + 26, x + 76 * k, y + 30),
            ("C", x + 104 * k, y + 34, x + 96 * k, y + 52, x + 140 * k, y + 62),
            ("open",),
        )
        c.drawPath(v, fill((146, 150, 162), alpha, blur=1.4, stroke=width))
    c.restore()
    c.drawRect(ltrb(0, h - 3, SIZE, h + 1), fill((90, 110, 100), 0.35, blur=2))


def sunlit_wall(c, m):
    h, d = m["horizon"] + 12, m["detail"]
    c.drawPaint(
        fill((226, 184, 140), shader=linear((0, 0), (SIZE, h), [(0, (238, 202, 160)), (1, (214, 166, 124))]))
    )
    c.drawRect(
        ltrb(0, h, SIZE, SIZE),
        fill((226, 196, 160), shader=linear((0, h), (0, SIZE), [(0, (240, 214, 180)), (1, (208, 172, 132))])),
    )
    c.save()
    c.clipRect(ltrb(0, 0, SIZE, h))
    c.translate(30 * d - 8, 0)
    for i in range(2):  # the light of a window with two by two panes
        for j in range(2):
            x, y = 26 + 92 * i, -6 + 76 * j + 18 * i
            c.drawPath(
                path(("M", x, y), ("L", x + 82, y + 16), ("L", x + 82, y + 84), ("L", x, y + 68)),
                fill((255, 240, 206), 0.80, blur=2.0),
            )
    c.restore()
    c.drawRect(ltrb(0, h - 2, SIZE, h + 1), fill((150, 104, 66), 0.4, blur=2))


def podium(c, m):
    seamless(c, (170, 216, 198), min(200, m["horizon"] + 30), 0.8)
    x, y, e, R, H = m["x"], m["y"] - 14, m["pitch"], 92, 34
    c.drawOval(oval(x + 18, y + H + 6, R + 12, R * e + 4), fill((40, 90, 76), 0.38, blur=9))
    c.save()
    c.translate(x, y)
    c.drawPath(cylinder(R, R, 0, H, e), fill(WHITE, shader=round_shader(R, (238, 240, 238))))
    c.drawOval(
        oval(0, 0, R, R * e),
        fill(WHITE, shader=linear((-R, 0), (R, 0), [(0, (255, 255, 255)), (1, (232, 238, 234))])),
    )
    c.restore()


PAINT = {
    "white studio": white_studio,
    "wooden table": wooden_table,
    "marble counter": marble_counter,
    "pink backdrop": pink_backdrop,
    "blue backdrop": blue_backdrop,
    "dark studio": dark_studio,
    "sunlit wall": sunlit_wall,
    "podium": podium,
}
SHADOW = {
    "white studio": 0.34,
    "wooden table": 0.52,
    "marble counter": 0.36,
    "pink backdrop": 0.36,
    "blue backdrop": 0.38,
    "dark studio": 0.7,
    "sunlit wall": 0.48,
    "podium": 0.34,
}
MIRROR = {"marble counter": 0.22, "dark studio": 0.30}  # strength of the reflection in a polished floor


def render(s):
    """RGB uint8 [256, 256, 3] of a scene."""
    surface = skia.Surface(SIZE, SIZE)
    c, m = surface.getCanvas(), s.camera
    hanging = s.product == "t-shirt"
    if hanging:  # hangs before the wall: the floor is only a strip below
        m = dict(m, y=m["y"] + 2, horizon=m["horizon"] + 54)
    PAINT[s.setting](c, dict(m, y=m["y"] + 20) if hanging else m)

    recorder = skia.PictureRecorder()
    p = recorder.beginRecording(ltrb(-140, -240, 140, 40))
    col = tuple(
        v * (1 + m["tint"]) if m["tint"] < 0 else v + (255 - v) * m["tint"] for v in COLOURS[s.colour]
    )
    DRAW[s.product](p, col, s)
    picture = recorder.finishRecordingAsPicture()

    dark, strength = ((0, 0, 4) if s.setting == "dark studio" else (44, 32, 48)), SHADOW[s.setting]
    k, w, e = m["scale"], FOOT[s.product], m["pitch"]

    def ghost(blur, alpha, *transform):
        """The product's silhouette as a soft shadow."""
        paint = skia.Paint(
            ImageFilter=skia.ImageFilters.Blur(blur, blur),
            ColorFilter=skia.ColorFilters.Blend(argb(dark), skia.BlendMode.kSrcIn),
        )
        paint.setAlphaf(alpha)
        c.saveLayer(None, paint)
        c.translate(m["x"], m["y"])
        for t in transform:
            c.concat(t)
        c.scale(k, k)
        c.drawPicture(picture)
        c.restore()

    if hanging:
        ghost(6, strength * 0.75, skia.Matrix.Translate(10, 9))
    else:
        foot = -w * k * e * {"box": 0.45, "tote bag": 0.05}.get(s.product, 0.62)
        ghost(
            5,
            strength * 0.62,
            skia.Matrix.Translate(4, foot),
            skia.Matrix.MakeAll(1, -0.85, 0, 0, 0.30, 0, 0, 0, 1),
        )  # cast to the right, lying on the floor
        c.drawOval(
            oval(m["x"] + 3, m["y"] + foot, w * k * 1.08, max(4, w * k * e * 1.05)),
            fill(dark, strength, blur=5),
        )  # contact
        if s.setting in MIRROR and s.product not in ("box", "candle"):
            c.saveLayer(None, None)
            c.saveLayer(None, skia.Paint(ImageFilter=skia.ImageFilters.Blur(1.6, 1.6)))
            c.translate(m["x"], m["y"] - 2)
            c.scale(k, -k)
            c.translate(0, w * e * (1.0 if s.product != "tote bag" else 0))
            c.drawPicture(picture)
            c.restore()
            mask = fill(
                WHITE,
                shader=linear(
                    (0, m["y"] - 12), (0, m["y"] + 46), [(0, WHITE, MIRROR[s.setting]), (1, WHITE, 0)]
                ),
            )
            mask.setBlendMode(skia.BlendMode.kDstIn)
            c.drawPaint(mask)
            c.restore()
    c.save()
    c.translate(m["x"], m["y"])
    c.scale(k, k)
    c.drawPicture(picture)
    c.restore()
    c.drawPaint(
        fill(
            WHITE,
            shader=radial(
                (120, 118), 210, [(0, (20, 10, 20), 0), (0.55, (20, 10, 20), 0), (1, (20, 10, 20), 0.20)]
            ),
        )
    )  # vignette
    return np.ascontiguousarray(surface.toarray(colorType=skia.kRGBA_8888_ColorType)[..., :3])


def sheet(images, columns):
    """Contact sheet of equally sized pictures."""
    h, w = images[0].shape[:2]
    rows = -(-len(images) // columns)
    out = np.full((rows * (h + 4) + 4, columns * (w + 4) + 4, 3), 255, np.uint8)
    for i, im in enumerate(images):
        y, x = divmod(i, columns)
        out[4 + y * (h + 4) : 4 + y * (h + 4) + h, 4 + x * (w + 4) : 4 + x * (w + 4) + w] = im
    return out


if __name__ == "__main__":
    from PIL import Image

    a = argparse.ArgumentParser(description="paint a contact sheet of the data set")
    a.add_argument("--out", default="mockups.png")
    a.add_argument("--count", type=int, default=40)
    a.add_argument("--seed", type=int, default=0)
    a.add_argument("--brand", action="store_true")
    a = a.parse_args()
    scenes = [scene(i, a.seed, a.brand) for i in range(a.count)]
    for i, s in enumerate(scenes):
        print(i, caption(s, random.Random(f"{a.seed}/{i}")))
    Image.fromarray(sheet([render(s) for s in scenes], 8)).save(a.out)

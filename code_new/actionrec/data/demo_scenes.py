"""Draws the clips of the sample data: two animals of one kind over textured ground.

An animal is drawn once, looking right, as a sprite (80, 80, 4) float32: premultiplied RGB, then
alpha 0..1. Each frame turns, scales, mirrors and places it. As in nature a walking animal looks
where it goes and raises dust, an approaching one looks at the viewer, and a rolling one is curled
up; all others look left or right at random. Positions are in pixels, times t in frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from actionrec.data.demo_labels import DemoClip

HEIGHT, WIDTH = 96, 128
_SPRITE, _CENTRE = 80, 40
# Animals that have left on one side come back on the other: a walk lasts the whole clip.
_LAP = WIDTH + 64

_COATS = {"Red Coat": (215, 35, 30), "Blue Coat": (35, 50, 240), "Striped Coat": (245, 245, 240)}
_PLAIN_COAT = (130, 95, 60)
_GROUNDS = ((105, 150, 65), (200, 175, 120), (160, 160, 150))  # grass, sand, stone
_WATER = (60, 175, 180)
_DARK, _EYE = (40, 30, 25), (255, 255, 255)
_DUST = (240, 235, 220)
_FLASH = (255, 255, 150)


@dataclass(frozen=True)
class _Animal:
    """Where one animal starts and where in its movement; lap_offset keeps the two apart."""

    x: float
    ground_y: float
    size: float
    looks_left: bool
    phase: float
    lap_offset: float


@dataclass(frozen=True)
class _Pose:
    """Centre of the body in pixels, its size as a factor, its turn in degrees."""

    x: float
    y: float
    size: float
    turn_deg: float = 0.0


def draw_clip(clip: DemoClip, rng: np.random.Generator) -> np.ndarray:
    """The frames of a clip: (T, 96, 128, 3) uint8 RGB, the same for the same generator state."""
    sprites = _draw_sprites(clip, rng)
    ground = _draw_ground(clip, rng)
    animals = _place_animals(clip, rng)
    speed = rng.uniform(1.4, 2.2)
    brightness = rng.uniform(0.85, 1.1) * (0.35 if clip.shows("At Night") else 1.0)
    flash_at = int(rng.integers(16))
    walks = clip.shows("Walking Left") or clip.shows("Walking Right")
    frames = np.empty((clip.num_frames, HEIGHT, WIDTH, 3), np.uint8)
    for t in range(clip.num_frames):
        frame = _ripple(ground, t) if clip.shows("In Water") else ground.copy()
        sprite = sprites[t // 3 % len(sprites)] if walks else sprites[0]
        poses = [_pose(clip, animal, t, speed) for animal in animals]
        for animal, pose in zip(animals, poses, strict=True):
            if walks:
                _raise_dust(frame, animal, pose, t)
            _paste(frame, sprite, animal, pose)
        frame *= brightness
        if clip.shows("Flashing") and (t + flash_at) % 16 < 8:
            for pose in poses:
                _glow(frame, pose)
        frame += rng.normal(0.0, 1.0, (HEIGHT, WIDTH, 1))
        frames[t] = frame.clip(0, 255)
    return frames


def _place_animals(clip: DemoClip, rng: np.random.Generator) -> list[_Animal]:
    """Two animals half a lap apart, so that one is in view whatever part is cut out."""
    start, looks_left = rng.uniform(0, _LAP), bool(rng.integers(2))
    if clip.shows("Walking Left") or clip.shows("Walking Right"):
        looks_left = clip.shows("Walking Left")
    size, phase = rng.uniform(0.8, 1.05), rng.uniform()
    return [
        _Animal(start, rng.uniform(58, 76), size, looks_left, phase, lap_offset)
        for lap_offset in (0.0, _LAP / 2)
    ]


def _pose(clip: DemoClip, animal: _Animal, t: int, speed: float) -> _Pose:
    """Where the animal is at time t."""
    walked = speed * t * (clip.shows("Walking Right") - clip.shows("Walking Left"))
    x = (animal.x + animal.lap_offset + walked) % _LAP - (_LAP - WIDTH) / 2
    size, lift, turn_deg = animal.size, 0.0, 0.0
    if clip.shows("Approaching"):
        size *= 0.6 * math.exp(1.2 * t / clip.num_frames)
    if clip.shows("Jumping"):
        jump = math.pi * ((t / 18 + animal.phase) % 1)
        lift, turn_deg = 32 * math.sin(jump), -32 * math.cos(jump)
    if clip.shows("Rolling"):
        turn_deg = 360 * (t / 20 + animal.phase)
    return _Pose(x, animal.ground_y - 22 * size - lift, size, turn_deg)


def _draw_sprites(clip: DemoClip, rng: np.random.Generator) -> list[np.ndarray]:
    """The animal with its legs in each of the positions of a step; position 0 is at rest."""
    name = next((name for name in _COATS if clip.shows(name)), "")
    colour = np.array(_COATS.get(name, _PLAIN_COAT)) + rng.uniform(-12, 12, 3)
    coat = np.tile(colour.clip(0, 255), (_SPRITE, _SPRITE, 1)).astype(np.float32)
    if name == "Striped Coat":
        coat[:, np.arange(_SPRITE) % 8 < 4] = 20
    if clip.shows("Rolling"):
        return [_draw_ball(coat)]
    front = clip.shows("Approaching")
    return [_draw_sprite(coat, swing_px, front) for swing_px in (0, 6, 0, -6)]


def _draw_ball(coat: np.ndarray) -> np.ndarray:
    """An animal curled up: its dark belly shows how far it has turned."""
    shape = np.zeros((_SPRITE, _SPRITE), np.uint8)
    cv2.circle(shape, (_CENTRE, _CENTRE), 19, 255, -1, cv2.LINE_AA)
    rgb = coat.copy()
    cv2.ellipse(rgb, (_CENTRE, _CENTRE), (20, 20), 0, 20, 160, _DARK, -1)
    return _join(rgb, shape)


def _draw_sprite(coat: np.ndarray, swing_px: int, front: bool) -> np.ndarray:
    """An animal on its legs, looking right or at the viewer."""
    shape = np.zeros((_SPRITE, _SPRITE), np.uint8)
    for number, leg_x in enumerate((24, 31, 46, 53)):
        foot_x = leg_x + (swing_px if number % 2 else -swing_px)
        cv2.line(shape, (leg_x, 46), (foot_x, 61), 255, 4, cv2.LINE_AA)
    cv2.ellipse(shape, (39, 40), (20, 12), 0, 0, 360, 255, -1, cv2.LINE_AA)
    head = (40, 28) if front else (61, 28)
    cv2.circle(shape, head, 10, 255, -1, cv2.LINE_AA)
    if not front:
        cv2.line(shape, (20, 36), (9, 24), 255, 3, cv2.LINE_AA)
    rgb = coat.copy()
    cv2.circle(rgb, head, 10, _DARK, -1)
    for eye_x in (head[0] - 4, head[0] + 4) if front else (head[0] + 4,):
        cv2.circle(rgb, (eye_x, head[1] - 2), 3, _EYE, -1)
    return _join(rgb, shape)


def _join(rgb: np.ndarray, shape: np.ndarray) -> np.ndarray:
    alpha = shape[..., None].astype(np.float32) / 255
    return np.concatenate([rgb * alpha, alpha], axis=2)


def _draw_ground(clip: DemoClip, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) float32: one colour, soft patches and a few stones."""
    colour = _WATER if clip.shows("In Water") else _GROUNDS[rng.integers(len(_GROUNDS))]
    patches = cv2.resize(rng.normal(0, 8, (9, 12)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    ground = (np.array(colour) + rng.uniform(-12, 12, 3) + patches[..., None]).astype(np.float32)
    for _ in range(rng.integers(4)):
        centre = (int(rng.integers(WIDTH)), int(rng.integers(HEIGHT)))
        axes = (int(rng.integers(3, 9)), int(rng.integers(2, 6)))
        cv2.ellipse(ground, centre, axes, 0, 0, 360, (105, 105, 100), -1)
    return ground


def _ripple(ground: np.ndarray, t: int) -> np.ndarray:
    """The ground under moving waves."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return ground + 16 * np.sin(y / 2.2 + 1.5 * np.sin(x / 11 + t / 6))[..., None]


def _raise_dust(frame: np.ndarray, animal: _Animal, pose: _Pose, t: int) -> None:
    """Draw puffs behind the feet that grow as they fall back, into `frame`."""
    behind = 1 if animal.looks_left else -1
    for puff in range(3):
        age = (t / 4 + puff) % 3
        x = pose.x + behind * pose.size * (24 + 7 * age)
        centre = (round(x), round(animal.ground_y - 2 * age))
        cv2.circle(frame, centre, round(2 + 1.3 * age), _DUST, -1, cv2.LINE_AA)


def _paste(frame: np.ndarray, sprite: np.ndarray, animal: _Animal, pose: _Pose) -> None:
    """Draw the shadow on the ground and the animal over it, into `frame`."""
    shadow = np.zeros((HEIGHT, WIDTH), np.float32)
    axes = (max(1, int(18 * pose.size)), max(1, int(4 * pose.size)))
    cv2.ellipse(shadow, (int(pose.x), int(animal.ground_y)), axes, 0, 0, 360, 1.0, -1)
    frame *= 1 - 0.35 * shadow[..., None]
    mirror = -1 if animal.looks_left else 1
    turn = math.radians(pose.turn_deg) * mirror
    along, across = pose.size * math.cos(turn), pose.size * math.sin(turn)
    matrix = np.array([[mirror * along, -across, pose.x], [mirror * across, along, pose.y]])
    matrix[:, 2] -= matrix[:, :2] @ (_CENTRE, _CENTRE)
    placed = cv2.warpAffine(sprite, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    frame *= 1 - placed[..., 3:]
    frame += placed[..., :3]


def _glow(frame: np.ndarray, pose: _Pose) -> None:
    """Light up the animal and the air around it, in `frame`."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    distance = ((x - pose.x) ** 2 + (y - pose.y) ** 2) / (22 * pose.size) ** 2
    light = 0.95 * np.exp(-0.5 * distance)[..., None]
    frame += light * (np.array(_FLASH, np.float32) - frame)

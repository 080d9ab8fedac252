"""The full ADE20K of 2021 (ADE20K_2021_17_01), read in the 150 classes of SceneParse150.

It has 25,574 and 2,000 images in their own sizes, with any of 3,688 names; SceneParse150, which the papers
use, has most of the training images, made smaller. Names that are none of the 150 are ignored.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from bench.data.archive import AnyPath
from bench.data.base import IGNORE, DatasetInfo
from bench.data.labels import Labels, decode
from bench.data.pairs import Pair, list_files, pair_up
from bench.errors import UserError

FULL_COUNTS = {"train": 25_574, "val": 2_000}
_NAMES = """\
wall
building, edifice
sky
floor, flooring
tree
ceiling
road, route
bed
windowpane, window
grass
cabinet
sidewalk, pavement
person, individual, someone, somebody, mortal, soul
earth, ground
door, double door
table
mountain, mount
plant, flora, plant life
curtain, drape, drapery, mantle, pall
chair
car, auto, automobile, machine, motorcar
water
painting, picture
sofa, couch, lounge
shelf
house
sea
mirror
rug, carpet, carpeting
field
armchair
seat
fence, fencing
desk
rock, stone
wardrobe, closet, press
lamp
bathtub, bathing tub, bath, tub
railing, rail
cushion
base, pedestal, stand
box
column, pillar
signboard, sign
chest of drawers, chest, bureau, dresser
counter
sand
sink
skyscraper
fireplace, hearth, open fireplace
refrigerator, icebox
grandstand, covered stand
path
stairs, steps
runway
case, display case, showcase, vitrine
pool table, billiard table, snooker table
pillow
screen door, screen
stairway, staircase
river
bridge, span
bookcase
blind, screen
coffee table, cocktail table
toilet, can, commode, crapper, pot, potty, stool, throne
flower
book
hill
bench
countertop
stove, kitchen stove, range, kitchen range, cooking stove
palm, palm tree
kitchen island
computer, computing machine, computing device, data processor, electronic computer, information processing system
swivel chair
boat
bar
arcade machine
hovel, hut, hutch, shack, shanty
bus, autobus, coach, charabanc, double-decker, jitney, motorbus, motorcoach, omnibus, passenger vehicle
towel
light, light source
truck, motortruck
tower
chandelier, pendant, pendent
awning, sunshade, sunblind
streetlight, street lamp
booth, cubicle, stall, kiosk
television, television receiver, television set, tv, tv set, idiot box, boob tube, telly, goggle box
airplane, aeroplane, plane
dirt track
apparel, wearing apparel, dress, clothes
pole
land, ground, soil
bannister, banister, balustrade, balusters, handrail
escalator, moving staircase, moving stairway
ottoman, pouf, pouffe, puff, hassock
bottle
buffet, counter, sideboard
poster, posting, placard, notice, bill, card
stage
van
ship
fountain
conveyer belt, conveyor belt, conveyer, conveyor, transporter
canopy
washer, automatic washer, washing machine
plaything, toy
swimming pool, swimming bath, natatorium
stool
barrel, cask
basket, handbasket
waterfall, falls
tent, collapsible shelter
bag
minibike, motorbike
cradle
oven
ball
food, solid food
step, stair
tank, storage tank
trade name, brand name, brand, marque
microwave, microwave oven
pot, flowerpot
animal, animate being, beast, brute, creature, fauna
bicycle, bike, wheel, cycle
lake
dishwasher, dish washer, dishwashing machine
screen, silver screen, projection screen
blanket, cover
sculpture
hood, exhaust hood
sconce
vase
traffic light, traffic signal, stoplight
tray
ashcan, trash can, garbage can, wastebin, ash bin, ash-bin, ashbin, dustbin, trash barrel, trash bin
fan
pier, wharf, wharfage, dock
crt screen
plate
monitor, monitoring device
bulletin board, notice board
shower
radiator
glass, drinking glass
clock
flag
"""  # noqa: E501
"""The names of the 150 classes as the JSONs have them (objectInfo150.txt of SceneParse150), in order."""


class FullLabels:
    """Reads NAME_seg.png, where red and green number a name and blue an object, with NAME.json beside it."""

    def __init__(self, info: DatasetInfo, objects: bool) -> None:
        self.objects, self.things = objects, sorted(info.things)
        self.classes = {name: label for label, name in enumerate(_NAMES.splitlines())}

    def __call__(self, pair: Pair) -> Labels:
        """The objects of things are numbered by class and number in the file. Raises UserError."""
        picture = np.asarray(decode(pair.labels))
        if picture.ndim != 3 or picture.dtype != np.uint8:
            raise UserError(f"{pair.labels}: expected names in red and green, objects in blue")
        names = _names(pair.labels.with_name(f"{pair.name}.json"))
        red, green, blue = (picture[..., channel].astype(np.int32) for channel in range(3))
        found, places = np.unique((red // 10 << 8 | green) << 8 | blue, return_inverse=True)
        labels = [self.classes.get(names.get(code >> 8, ""), IGNORE) for code in found.tolist()]
        classes, places = np.array(labels, np.uint8), places.reshape(picture.shape[:2])
        if not self.objects:
            return Labels(classes[places])
        things = np.isin(classes, self.things)
        single = things & (found & 255 > 0)
        classes[things & ~single] = IGNORE
        numbers = np.where(single, np.cumsum(single), 0).astype(np.int32)
        return Labels(classes[places], numbers[places])


def full_pairs(folder: AnyPath) -> list[Pair]:
    """The images in the folders of scenes below `folder`. Raises UserError for one without labels."""
    pairs = []
    for scene in sorted(path for path in folder.iterdir() if path.is_dir()):
        images, labels = list_files(scene, (".jpg",)), list_files(scene, (".png",), "_seg")
        pairs += pair_up(images, labels, scene / "{name}_seg.png", str(folder)) if images else []
        pairs += [] if images else full_pairs(scene)  # beside images are folders of their masks
    return pairs


def _names(path: AnyPath) -> dict[int, str]:
    """Number of a name -> name, of the objects in one image."""
    try:
        listed: dict[str, Any] = json.loads(path.read_bytes().decode("utf-8", "replace"))
        return {int(row["name_ndx"]): str(row["name"]) for row in listed["annotation"]["object"]}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the JSON of an image of ADE20K ({error!r})") from error

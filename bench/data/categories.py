"""Class names, colours and label ids of the public datasets: facts, kept as small tables.

Sources: ADE20K SceneParse150 (order of objectInfo150.txt; names, colours and things as in the Mask2Former
release), cityscapesScripts labels.py, CamVid in the 11 classes of SegNet. A line is: colour (RGB,
hexadecimal), marks, name. Marks: t = thing; Cityscapes: label id and train id (- = ignored).
"""

from __future__ import annotations

from dataclasses import replace

from bench.data.base import DatasetInfo

_ADE20K = """\
787878 - wall
b47878 - building
06e6e6 - sky
503232 - floor
04c803 - tree
787850 - ceiling
8c8c8c - road, route
cc05ff t bed
e6e6e6 t window
04fa07 - grass
e005ff t cabinet
ebff07 - sidewalk, pavement
96053d t person
787846 - earth, ground
08ff33 t door
ff0652 t table
8fff8c - mountain, mount
ccff04 - plant
ff3307 t curtain
cc4603 t chair
0066c8 t car
3de6fa - water
ff0633 t painting, picture
0b66ff t sofa
ff0747 t shelf
ff09e0 - house
0907e6 - sea
dcdcdc t mirror
ff095c - rug
7009ff - field
08ffd6 t armchair
07ffe0 t seat
ffb806 t fence
0aff47 t desk
ff290a - rock, stone
07ffff t wardrobe, closet, press
e0ff08 t lamp
6608ff t tub
ff3d06 t rail
ffc207 t cushion
ff7a08 - base, pedestal, stand
00ff14 t box
ff0829 t column, pillar
ff0599 t signboard, sign
0633ff t chest of drawers, chest, bureau, dresser
eb0cff t counter
a09614 - sand
00a3ff t sink
8c8c8c - skyscraper
fa0a0f t fireplace
14ff00 t refrigerator, icebox
1fff00 - grandstand, covered stand
ff1f00 - path
ffe000 t stairs
99ff00 - runway
0000ff t case, display case, showcase, vitrine
ff4700 t pool table, billiard table, snooker table
00ebff t pillow
00adff t screen door, screen
1f00ff - stairway, staircase
0bc8c8 - river
ff5200 - bridge, span
00fff5 t bookcase
003dff - blind, screen
00ff70 t coffee table
00ff85 t toilet, can, commode, crapper, pot, potty, stool, throne
ff0000 t flower
ffa300 t book
ff6600 - hill
c2ff00 t bench
008fff t countertop
33ff00 t stove
0052ff t palm, palm tree
00ff29 t kitchen island
00ffad t computer
0a00ff t swivel chair
adff00 t boat
00ff99 - bar
ff5c00 t arcade machine
ff00ff - hovel, hut, hutch, shack, shanty
ff00f5 t bus
ff0066 t towel
ffad00 t light
ff0014 t truck
ffb8b8 - tower
001fff t chandelier
00ff3d t awning, sunshade, sunblind
0047ff t street lamp
ff00cc t booth
00ffc2 t tv
00ff52 t plane
000aff - dirt track
0070ff t clothes
3300ff t pole
00c2ff - land, ground, soil
007aff t bannister, banister, balustrade, balusters, handrail
00ffa3 - escalator, moving staircase, moving stairway
ff9900 t ottoman, pouf, pouffe, puff, hassock
00ff0a t bottle
ff7000 - buffet, counter, sideboard
8fff00 - poster, posting, placard, notice, bill, card
5200ff - stage
a3ff00 t van
ffeb00 t ship
08b8aa t fountain
8500ff - conveyer belt, conveyor belt, conveyer, conveyor, transporter
00ff5c - canopy
b800ff t washer, automatic washer, washing machine
ff001f t plaything, toy
00b8ff - pool
00d6ff t stool
ff0070 t barrel, cask
5cff00 t basket, handbasket
00e0ff - falls
70e0ff - tent
46b8a0 t bag
a300ff t minibike, motorbike
9900ff - cradle
47ff00 t oven
ff00a3 t ball
ffcc00 t food, solid food
ff008f t step, stair
00ffeb - tank, storage tank
85ff00 t trade name
ff00eb t microwave
f500ff t pot
ff007a t animal
fff500 t bicycle
0abed4 - lake
d6ff00 t dishwasher
00ccff t screen
1400ff - blanket, cover
ffff00 t sculpture
0099ff t hood, exhaust hood
0029ff t sconce
00ffcc t vase
2900ff t traffic light
29ff00 t tray
ad00ff t trash can
00f5ff t fan
4700ff - pier
7a00ff - crt screen
00ffb8 t plate
005cff t monitor
b8ff00 t bulletin board
0085ff - shower
ffd600 t radiator
19c2c2 t glass, drinking glass
66ff00 t clock
5c00ff t flag
"""

_CITYSCAPES = """\
000000 - 0 - unlabeled
000000 - 1 - ego vehicle
000000 - 2 - rectification border
000000 - 3 - out of roi
000000 - 4 - static
6f4a00 - 5 - dynamic
510051 - 6 - ground
804080 - 7 0 road
f423e8 - 8 1 sidewalk
faaaa0 - 9 - parking
e6968c - 10 - rail track
464646 - 11 2 building
66669c - 12 3 wall
be9999 - 13 4 fence
b4a5b4 - 14 - guard rail
966464 - 15 - bridge
96785a - 16 - tunnel
999999 - 17 5 pole
999999 - 18 - polegroup
faaa1e - 19 6 traffic light
dcdc00 - 20 7 traffic sign
6b8e23 - 21 8 vegetation
98fb98 - 22 9 terrain
4682b4 - 23 10 sky
dc143c t 24 11 person
ff0000 t 25 12 rider
00008e t 26 13 car
000046 t 27 14 truck
003c64 t 28 15 bus
00005a - 29 - caravan
00006e - 30 - trailer
005064 t 31 16 train
0000e6 t 32 17 motorcycle
770b20 t 33 18 bicycle
00008e - -1 - license plate
"""

_CAMVID = """\
808080 - Sky
800000 - Building
c0c080 - Pole
804080 - Road
3c28de - Pavement
808000 - Tree
c08080 - SignSymbol
404080 - Fence
400080 t Car
404000 t Pedestrian
0080c0 t Bicyclist
"""


def _info(name: str, table: str, skip: int = 0) -> DatasetInfo:
    """DatasetInfo from lines `colour mark [skipped fields] name`."""
    rows = [line.split(maxsplit=2 + skip) for line in table.splitlines()]
    return DatasetInfo(
        name=name,
        classes=tuple(row[-1] for row in rows),
        colors=tuple(tuple(bytes.fromhex(row[0])) for row in rows),
        things=frozenset(i for i, row in enumerate(rows) if row[1] == "t"),
    )


def listed(name: str, table: str) -> DatasetInfo:
    """DatasetInfo from lines `colour mark category name`, the category being the class's id in the files."""
    info = _info(name, table, skip=1)
    return replace(info, categories=tuple(int(line.split()[2]) for line in table.splitlines()))


def ade20k() -> DatasetInfo:
    """The 150 classes of SceneParse150; class c is label c + 1 in the files, 0 is ignored."""
    return _info("ade20k", _ADE20K)


def cityscapes() -> DatasetInfo:
    """The 19 evaluated classes, in order of train id."""
    evaluated = [line for line in _CITYSCAPES.splitlines() if line.split()[3] != "-"]
    return _info("cityscapes", "\n".join(evaluated), skip=2)


def cityscapes_train_ids() -> dict[int, int | None]:
    """Label id -> train id (None: ignored) for the 34 ids that occur in gtFine label maps. Licence
    plates, -1, do not: cityscapesScripts leaves them out when it draws."""
    rows = (line.split() for line in _CITYSCAPES.splitlines())
    return {int(row[2]): None if row[3] == "-" else int(row[3]) for row in rows if int(row[2]) >= 0}


def camvid() -> DatasetInfo:
    """The 11 classes of SegNet's CamVid; 11 in the files is void."""
    return _info("camvid", _CAMVID)

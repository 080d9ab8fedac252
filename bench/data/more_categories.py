"""Class names, colours and category ids of Mapillary Vistas (65) and PASCAL-Context (59); lines as in
`coco_categories.py`."""

from bench.data.base import DatasetInfo
from bench.data.categories import listed

_MAPILLARY = """\
a52a2a t 1 Bird
00c000 t 2 Ground Animal
c4c4c4 - 3 Curb
be9999 - 4 Fence
b4a5b4 - 5 Guard Rail
5a7896 - 6 Barrier
66669c - 7 Wall
8040ff - 8 Bike Lane
8c8cc8 t 9 Crosswalk - Plain
aaaaaa - 10 Curb Cut
faaaa0 - 11 Parking
606060 - 12 Pedestrian Area
e6968c - 13 Rail Track
804080 - 14 Road
6e6e6e - 15 Service Lane
f423e8 - 16 Sidewalk
966464 - 17 Bridge
464646 - 18 Building
96785a - 19 Tunnel
dc143c t 20 Person
ff0000 t 21 Bicyclist
ff0064 t 22 Motorcyclist
ff00c8 t 23 Other Rider
c88080 t 24 Lane Marking - Crosswalk
ffffff - 25 Lane Marking - General
40aa40 - 26 Mountain
e6a032 - 27 Sand
4682b4 - 28 Sky
beffff - 29 Snow
98fb98 - 30 Terrain
6b8e23 - 31 Vegetation
00aa1e - 32 Water
ffff80 t 33 Banner
fa001e t 34 Bench
648cb4 t 35 Bike Rack
dcdcdc t 36 Billboard
dc8080 t 37 Catch Basin
de2828 t 38 CCTV Camera
64aa1e t 39 Fire Hydrant
282828 t 40 Junction Box
212121 t 41 Mailbox
6480a0 t 42 Manhole
8e0000 t 43 Phone Booth
466496 - 44 Pothole
d2aa64 t 45 Street Light
999999 t 46 Pole
808080 t 47 Traffic Sign Frame
000050 t 48 Utility Pole
faaa1e t 49 Traffic Light
c0c0c0 t 50 Traffic Sign (Back)
dcdc00 t 51 Traffic Sign (Front)
8c8c14 t 52 Trash Can
770b20 t 53 Bicycle
9600ff t 54 Boat
003c64 t 55 Bus
00008e t 56 Car
00005a t 57 Caravan
0000e6 t 58 Motorcycle
005064 - 59 On Rails
804040 t 60 Other Vehicle
00006e t 61 Trailer
000046 t 62 Truck
0000c0 t 63 Wheeled Slow
202020 - 64 Car Mount
780a0a - 65 Ego Vehicle
"""

_PASCAL_CONTEXT = """\
b47878 - 0 aeroplane
06e6e6 - 1 bag
503232 - 2 bed
04c803 - 3 bedclothes
787850 - 4 bench
8c8c8c - 5 bicycle
cc05ff - 6 bird
e6e6e6 - 7 boat
04fa07 - 8 book
e005ff - 9 bottle
ebff07 - 10 building
96053d - 11 bus
787846 - 12 cabinet
08ff33 - 13 car
ff0652 - 14 cat
8fff8c - 15 ceiling
ccff04 - 16 chair
ff3307 - 17 cloth
cc4603 - 18 computer
0066c8 - 19 cow
3de6fa - 20 cup
ff0633 - 21 curtain
0b66ff - 22 dog
ff0747 - 23 door
ff09e0 - 24 fence
0907e6 - 25 floor
dcdcdc - 26 flower
ff095c - 27 food
7009ff - 28 grass
08ffd6 - 29 ground
07ffe0 - 30 horse
ffb806 - 31 keyboard
0aff47 - 32 light
ff290a - 33 motorbike
07ffff - 34 mountain
e0ff08 - 35 mouse
6608ff - 36 person
ff3d06 - 37 plate
ffc207 - 38 platform
ff7a08 - 39 pottedplant
00ff14 - 40 road
ff0829 - 41 rock
ff0599 - 42 sheep
0633ff - 43 shelves
eb0cff - 44 sidewalk
a09614 - 45 sign
00a3ff - 46 sky
8c8c8c - 47 snow
fa0a0f - 48 sofa
14ff00 - 49 table
1fff00 - 50 track
ff1f00 - 51 train
ffe000 - 52 tree
99ff00 - 53 truck
0000ff - 54 tvmonitor
ff4700 - 55 wall
00ebff - 56 water
00adff - 57 window
1f00ff - 58 wood
"""


def mapillary() -> DatasetInfo:
    """The 65 classes of Mapillary Vistas 1.2, 37 of them things; 65 in label maps is unlabelled."""
    return listed("mapillary", _MAPILLARY)


def pascal_context() -> DatasetInfo:
    """The 59 classes of PASCAL-Context that are evaluated without background."""
    return listed("pascal_context", _PASCAL_CONTEXT)

"""Class names, colours and category ids of COCO panoptic 2017 (133 classes) and of COCO-Stuff (171).

The colours of COCO-Stuff's stuff are ours. A line is: colour (RGB, hexadecimal), t for a thing, category id
in the data set's files, name. The classes of a model are the lines in this order, from 0.
"""

from bench.data.base import DatasetInfo
from bench.data.categories import listed

_THINGS = """\
dc143c t 1 person
770b20 t 2 bicycle
00008e t 3 car
0000e6 t 4 motorcycle
6a00e4 t 5 airplane
003c64 t 6 bus
005064 t 7 train
000046 t 8 truck
0000c0 t 9 boat
faaa1e t 10 traffic light
64aa1e t 11 fire hydrant
dcdc00 t 13 stop sign
af74af t 14 parking meter
fa001e t 15 bench
a52a2a t 16 bird
ff4dff t 17 cat
00e2fc t 18 dog
b6b6ff t 19 horse
005200 t 20 sheep
78a69d t 21 cow
6e4c00 t 22 elephant
ae39ff t 23 bear
c76400 t 24 zebra
480076 t 25 giraffe
ffb3f0 t 27 backpack
007d5c t 28 umbrella
d10097 t 31 handbag
bcd0b6 t 32 tie
00dcb0 t 33 suitcase
ff63a4 t 34 frisbee
5c0049 t 35 skis
8581ff t 36 snowboard
4eb4ff t 37 sports ball
00e400 t 38 kite
aefff3 t 39 baseball bat
2d59ff t 40 baseball glove
868667 t 41 skateboard
9194ae t 42 surfboard
ffd0ba t 43 tennis racket
c5e2ff t 44 bottle
ab8601 t 46 wine glass
6d3f36 t 47 cup
cf8aff t 48 fork
97005f t 49 knife
09503d t 50 spoon
546933 t 51 bowl
4a4169 t 52 banana
a6c466 t 53 apple
d0c3d2 t 54 sandwich
ff6d41 t 55 orange
008f95 t 56 broccoli
b300c2 t 57 carrot
d1636a t 58 hot dog
057900 t 59 pizza
e3ffcd t 60 donut
93bad0 t 61 cake
994501 t 62 chair
035fa1 t 63 couch
a3ff00 t 64 potted plant
7700aa t 65 bed
00b6c7 t 67 dining table
00a578 t 70 toilet
b78258 t 72 tv
5f2000 t 73 laptop
827287 t 74 mouse
6e8185 t 75 remote
a64a76 t 76 keyboard
db8eb9 t 77 cell phone
4fd272 t 78 microwave
b25a3e t 79 oven
41460f t 80 toaster
7fa773 t 81 sink
3b696a t 82 refrigerator
8e6c2d t 84 book
c4ac00 t 85 clock
5f3650 t 86 vase
804cff t 87 scissors
c93901 t 88 teddy bear
f6007a t 89 hair drier
bfa2d0 t 90 toothbrush
"""

_COCO = _THINGS + """\
ffff80 - 92 banner
93d3cb - 93 blanket
966464 - 95 bridge
a8abac - 100 cardboard
9270c6 - 107 counter
d2aa64 - 109 curtain
5c8859 - 112 door-stuff
da58b8 - 118 floor-wood
f18100 - 119 flower
d911ff - 122 fruit
7c4ab5 - 125 gravel
464646 - 128 house
ffe4ff - 130 light
9ad000 - 133 mirror-stuff
c1005c - 138 net
4c5b71 - 141 pillow
ffb4c3 - 144 platform
6a9ab0 - 145 playingfield
e6968c - 147 railroad
3c8fff - 148 river
804080 - 149 road
5c5237 - 151 roof
fed47c - 154 sand
494dae - 155 sea
ffa062 - 156 shelf
ffffff - 159 snow
68546d - 161 stairs
a9a483 - 166 tent
e1c7ff - 168 towel
89364a - 171 wall-brick
879edf - 175 wall-stone
07f6e7 - 176 wall-tile
6bffc8 - 177 wall-wood
3a2995 - 178 water-other
b7798e - 180 window-blind
ff4961 - 181 window-other
6b8e23 - 184 tree-merged
be9999 - 185 fence-merged
928b8d - 186 ceiling-merged
4682b4 - 187 sky-other-merged
86c79c - 188 cabinet-merged
d1e28c - 189 table-merged
60246c - 190 floor-other-merged
606060 - 191 pavement-merged
40aa40 - 192 mountain-merged
98fb98 - 193 grass-merged
d0e5e4 - 194 dirt-merged
cebaab - 195 paper-merged
98a140 - 196 food-other-merged
747000 - 197 building-other-merged
00728f - 198 rock-merged
66669c - 199 wall-other-merged
fa8dff - 200 rug-merged
"""

_COCO_STUFF = _THINGS + """\
992687 - 92 banner
66baaf - 93 blanket
dba358 - 94 branch
743ffc - 95 bridge
559954 - 96 building-other
ba4a6c - 97 bush
3799db - 98 cabinet
f0fc8b - 99 cage
893d99 - 100 cardboard
2fba78 - 101 carpet
db9079 - 102 ceiling-other
656dfc - 103 ceiling-tile
4e9926 - 104 cloth
ba669c - 105 clothes
58d2db - 106 clouds
fcd23f - 107 counter
765499 - 108 cupboard
4aba60 - 109 curtain
db3747 - 110 desk-stuff
8bb7fc - 111 dirt
7c993d - 112 door-stuff
ba2fb6 - 113 fence
79dbc1 - 114 floor-marble
fca865 - 115 floor-other
382699 - 116 floor-stone
72ba66 - 117 floor-tile
db5891 - 118 floor-wood
3fc8fc - 119 flower
999854 - 120 fog
984aba - 121 food-other
37db79 - 122 fruit
fc978b - 123 furniture-other
3d4e99 - 124 grass
71ba2f - 125 gravel
db79c4 - 126 ground-other
65fcf4 - 127 hill
997126 - 128 house
8466ba - 129 leaves
58db60 - 130 light
fc3f6a - 131 mat
547899 - 132 metal
a5ba4a - 133 mirror-stuff
cb37db - 134 moss
8bfcd0 - 135 mountain
995a3d - 136 mud
322fba - 137 napkin
93db79 - 138 net
fc65ba - 139 paper
268899 - 140 pavement
baae66 - 141 pillow
a258db - 142 plant-other
3ffc73 - 143 plastic
995455 - 144 platform
4a6dba - 145 playingfield
9adb37 - 146 railing
fc8bf0 - 147 railroad
3d9988 - 148 river
ba772f - 149 road
8f79db - 150 rock
6efc65 - 151 roof
99264f - 152 rug
669cba - 153 salad
d3db58 - 154 sand
d13ffc - 155 sea
549975 - 156 shelf
ba5f4a - 157 sky-other
3748db - 158 skyscraper
b8fc8b - 159 snow
993d7c - 160 solid-other
2fb7ba - 161 stairs
dbc179 - 162 stone
a765fc - 163 straw
269937 - 164 structural-other
ba6673 - 165 table
5891db - 166 tent
c9fc3f - 167 textile-other
985499 - 168 towel
4aba97 - 169 tree
db7837 - 170 vegetable
978bfc - 171 wall-brick
4f993d - 172 wall-concrete
ba2f72 - 173 wall-other
79c5db - 174 wall-panel
fcf365 - 175 wall-stone
702699 - 176 wall-tile
66ba84 - 177 wall-wood
db6058 - 178 water-other
3f6bfc - 179 waterdrops
789954 - 180 window-blind
ba4aa5 - 181 window-other
37dbca - 182 wood
"""


def coco() -> DatasetInfo:
    """The 80 things and 53 stuff classes of COCO panoptic."""
    return listed("coco", _COCO)


def coco_stuff10k() -> DatasetInfo:
    """The 171 classes of COCO-Stuff: 80 things, 91 stuff."""
    return listed("coco_stuff10k", _COCO_STUFF)

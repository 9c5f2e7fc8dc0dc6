"""What simulated hands do in each stage of emg2pose."""

import numpy as np

from ._gestures import GESTURES, posture

# posture: thumb, index, middle, ring, pinky, spread, in the words of `GESTURES`
_MORE = {
    # thumb over a relaxed hand
    "thumb_side": ("side", "soft", "soft", "soft", "soft", "none"),
    "thumb_far": ("far", "soft", "soft", "soft", "soft", "none"),
    "thumb_out": ("out", "soft", "soft", "soft", "soft", "none"),
    "thumb_middle": ("middle", "soft", "soft", "soft", "soft", "none"),
    # thumb round its base, over a fist
    "roll_low": ("low", "curled", "curled", "curled", "curled", "none"),
    "roll_high": ("high", "curled", "curled", "curled", "curled", "none"),
    "roll_side": ("side", "curled", "curled", "curled", "curled", "none"),
    # pinches of several fingers, or with the others stretched
    "two_pinch": ("middle", "pinch", "pinch", "relaxed", "relaxed", "none"),
    "all_pinch": ("ring", "pinch", "pinch", "pinch", "pinch", "none"),
    "tripod": ("tripod", "pinch", "pinch", "curled", "curled", "none"),
    "key": ("side", "half", "half", "curled", "curled", "none"),
    "reach": ("out", "soft", "soft", "soft", "soft", "wide"),
    "poke": ("side", "straight", "relaxed", "relaxed", "relaxed", "none"),
    "draw": ("index", "half", "curled", "curled", "curled", "none"),
    # grasps
    "cup": ("grip", "grip", "grip", "grip", "grip", "none"),
    "ball": ("claw", "ball", "ball", "ball", "ball", "wide"),
    "knob": ("tripod", "hooked", "hooked", "hooked", "relaxed", "wide"),
    "cocked": ("index", "cocked", "cocked", "cocked", "cocked", "none"),
    "throw": ("high", "half", "half", "lifted", "lifted", "radial"),
    # one finger moved, the others straight or lifted
    "bend_index": ("out", "folded", "straight", "straight", "straight", "none"),
    "bend_middle": ("out", "straight", "folded", "straight", "straight", "none"),
    "bend_ring": ("out", "straight", "straight", "folded", "straight", "none"),
    "bend_pinky": ("out", "straight", "straight", "straight", "folded", "none"),
    "point_middle": ("across", "curled", "straight", "curled", "curled", "none"),
    "point_ring": ("across", "curled", "curled", "straight", "curled", "none"),
    "point_pinky": ("across", "curled", "curled", "curled", "straight", "none"),
    "snap": ("middle", "relaxed", "cocked", "curled", "curled", "none"),
    # sideways
    "radial": ("flat", "straight", "straight", "straight", "straight", "radial"),
    "ulnar": ("flat", "straight", "straight", "straight", "straight", "ulnar"),
    "fan": ("out", "straight", "straight", "straight", "straight", "wide"),
    "scissors": ("across", "straight", "straight", "curled", "curled", "scissors"),
    # palms
    "folded": ("side", "folded", "folded", "folded", "folded", "none"),
    "clap": ("flat", "soft", "soft", "soft", "soft", "none"),
    "clasped": ("far", "grip", "grip", "grip", "grip", "wide"),
    "on_desk": ("flat", "half", "half", "half", "half", "wide"),
    "finger_to_palm": ("out", "curled", "curled", "soft", "soft", "none"),
    "ring_to_palm": ("out", "soft", "soft", "curled", "curled", "none"),
    # what a moving wrist does to a loose hand
    "dropped_wrist": ("low", "soft", "soft", "straight", "straight", "none"),
    "raised_wrist": ("side", "half", "half", "pinch", "pinch", "none"),
    # free movement
    "free_1": ("up", "grip", "straight", "grip", "lifted", "v"),
    "free_2": ("far", "lifted", "hooked", "hooked", "soft", "horns"),
    "free_3": ("tripod", "soft", "grip", "curled", "lifted", "vulcan"),
    "free_4": ("low", "curled", "lifted", "lifted", "curled", "none"),
    "free_5": ("high", "folded", "folded", "soft", "hooked", "wide"),
    "free_6": ("claw", "straight", "grip", "straight", "hooked", "radial"),
    "free_7": ("side", "hooked", "curled", "lifted", "folded", "ulnar"),
    "free_8": ("grip", "ball", "lifted", "ball", "lifted", "wide"),
}
POSTURES = {**GESTURES, **_MORE}
STAGE_POSTURES = np.stack([posture(*row) for row in POSTURES.values()])

# Stages of free movement have postures of their own too, to be told apart by.
STAGE_GESTURES = {
    "AllFingerPinchesThumbSwipeThumbRotate": (
        "index_pinch",
        "middle_pinch",
        "ring_pinch",
        "thumb_far",
        "roll_high",
    ),
    "CoffeePanicPete": ("cup", "open", "dropped_wrist"),
    "CountingUpDownFaceSideAway": ("point", "peace", "three", "four", "open"),
    "CountingUpDownFingerWigglingSpreading": (
        "point",
        "three",
        "bend_index",
        "bend_ring",
        "fan",
    ),
    "DoorknobFingerGraspFistGrab": ("knob", "tripod", "fist", "ball"),
    "FastPongFronthandBackhandThrowing": ("key", "throw", "cup"),
    "FingerAbductionSeries": ("stop", "radial", "ulnar", "fan", "vulcan"),
    "FingerFreeform": ("free_1", "bend_middle", "free_4", "hook_em_horns"),
    "FingerPinchesSingleFingerPinchesMultiple": (
        "index_pinch",
        "middle_pinch",
        "pinky_pinch",
        "two_pinch",
        "all_pinch",
    ),
    "FingerTouchPalmClapmrburns": ("finger_to_palm", "ring_to_palm", "clap", "fan"),
    "FingerWigglingSpreading": (
        "bend_index",
        "bend_middle",
        "bend_ring",
        "bend_pinky",
        "fan",
    ),
    "GraspPunchCloseFar": ("cup", "fist", "stop"),
    "HandClawGraspFlicks": ("claw", "ball", "cocked", "open"),
    "HandDeskSeparateClaspedChest": ("on_desk", "stop", "clasped"),
    "HandOverHandAllFingerPinchesThumbSwipeThumbRotate": (
        "clasped",
        "index_pinch",
        "ring_pinch",
        "pinky_pinch",
        "thumb_side",
    ),
    "HandOverHandCountingUpDownFingerWigglingSpreading": (
        "clasped",
        "peace",
        "four",
        "bend_middle",
        "bend_pinky",
    ),
    "HookEmHornsOKScissors": ("hook_em_horns", "ok", "peace", "scissors"),
    "IndexPinchesMiddlePinchesThumbswipes": (
        "index_pinch",
        "middle_pinch",
        "thumb_side",
        "thumb_far",
    ),
    "IndividualFingerPointingSnap": (
        "point",
        "point_middle",
        "point_ring",
        "point_pinky",
        "snap",
    ),
    "OneHandedFreeStyle": ("free_2", "free_3", "gun", "folded"),
    "PlayBlocksChess": ("tripod", "ball", "two_pinch", "cup"),
    "PokeDrawPinchRotateclosefar": ("poke", "draw", "index_pinch", "key"),
    "PokePinchCloseFar": ("poke", "index_pinch", "reach"),
    "ShakaVulcanPeace": ("shaka", "vulcan", "peace"),
    "ThumbsSwipesWholeHand": ("thumb_side", "thumb_middle", "thumb_far", "thumb_out"),
    "ThumbsUpDownThumbRotationsCWCCWP": (
        "thumbs_up",
        "roll_low",
        "roll_high",
        "roll_side",
    ),
    "TwoHandedFreeStyle": ("free_5", "free_6", "clap", "knob"),
    "WristFlexionAbduction": ("dropped_wrist", "raised_wrist", "radial", "ulnar"),
    "unconstrained": ("free_7", "free_8", "on_desk", "cup", "point"),
}


def stage_indices(stage):
    """Rows of `STAGE_POSTURES` that a stage mixes, (n_gestures,)."""
    known = list(POSTURES)
    return np.array([known.index(name) for name in STAGE_GESTURES[stage]])

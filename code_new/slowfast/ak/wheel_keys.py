"""Keys that the git base has and the wheel lacks, as far as our engine acts on them."""

from __future__ import annotations

from slowfast.config.custom_config import Key

WHEEL_KEYS: dict[str, Key] = {
    "BN.NORM_TYPE": Key("batchnorm", "batchnorm, sync_batchnorm", "Kind of batch norm."),
    "BN.NUM_SPLITS": Key(1, "", "Splits of sub-batch norm; only 1."),
    "BN.NUM_SYNC_DEVICES": Key(1, "devices", "Devices that share batch-norm statistics."),
    "TRAIN.CHECKPOINT_EPOCH_RESET": Key(False, "", "Start at epoch 0 after loading weights."),
    "TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN": Key((), "texts", "Parts removed from weight names."),
    "TEST.SAVE_RESULTS_PATH": Key("", "file", "Scores and labels, relative to OUTPUT_DIR."),
    "X3D.WIDTH_FACTOR": Key(1.0, "", "Width expansion."),
    "X3D.DEPTH_FACTOR": Key(1.0, "", "Depth expansion."),
    "X3D.BOTTLENECK_FACTOR": Key(1.0, "", "Bottleneck expansion of the 3x3x3 convolution."),
    "X3D.DIM_C5": Key(2048, "channels", "Of the last linear layer before the classifier."),
    "X3D.DIM_C1": Key(12, "channels", "Of the first 3x3 convolution."),
    "X3D.SCALE_RES2": Key(False, "", "Scale the width of the second stage too."),
    "X3D.BN_LIN5": Key(False, "", "Batch norm before the classifier."),
    "X3D.CHANNELWISE_3x3x3": Key(True, "", "Channelwise 3x3x3 convolution in the bottleneck."),
    "MODEL.MODEL_NAME": Key("SlowFast", "", "Model class."),
    "MODEL.HEAD_ACT": Key("softmax", "softmax, sigmoid", "Turns logits into scores in evaluation."),
    "DATA.DECODING_BACKEND": Key("pyav", "pyav", "Video decoder."),
    "DATA.INV_UNIFORM_SAMPLE": Key(False, "", "Draw the inverse of the short side uniformly."),
    "DATA.RANDOM_FLIP": Key(True, "", "Flip half of the training clips from left to right."),
    "DATA.MULTI_LABEL": Key(False, "", "Several labels a clip."),
    "DATA.ENSEMBLE_METHOD": Key("sum", "sum, max, mean", "How the views of a clip are combined."),
    "DATA.REVERSE_INPUT_CHANNEL": Key(False, "", "True: the model sees RGB; False: BGR."),
    "SOLVER.COSINE_END_LR": Key(0.0, "", "Last learning rate of the cosine."),
    "SOLVER.BASE_LR_SCALE_NUM_SHARDS": Key(False, "", "Multiply the rate by NUM_SHARDS."),
    "SOLVER.COSINE_AFTER_WARMUP": Key(False, "", "The cosine starts after the warm-up."),
    "SOLVER.ZERO_WD_1D_PARAM": Key(False, "", "No weight decay on one-dimensional parameters."),
    "LOG_MODEL_INFO": Key(True, "", "Log the size of the model."),
    "TENSORBOARD.ENABLE": Key(False, "", "Write TensorBoard event files."),
    "TENSORBOARD.LOG_DIR": Key("", "folder", "Relative to OUTPUT_DIR; empty: runs-<dataset>."),
    "TENSORBOARD.CLASS_NAMES_PATH": Key("", "JSON", "Class name to class number."),
}

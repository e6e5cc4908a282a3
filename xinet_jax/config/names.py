"""Names that options take, as plain data: nothing has to be loaded to check them."""

COMPACT = ("off", "end", "auto")  # when pruned units leave the arrays
COSTS = ("parameters", "flops")
ESTIMATORS = ("heun", "straight_through", "disarm", "fisher")  # of theta's gradient
LOGS = ("jsonl", "tensorboard", "wandb")  # where metrics go
NETWORKS = ("ofenet", "actor", "critic")
ORDERS = ("worth", "magnitude")  # what decides which units of a layer are pruned first
PRECISIONS = ("float32", "tensorfloat32", "bfloat16")  # of matrix products; everything else is float32
PRESETS = ("quick", "many-envs", "paper", "wide", "playground")
PRICES = ("fixed", "found")
PRUNERS = ("magnitude", "random")  # that prune on a schedule
WEIGHTS_SEE = ("open", "mean", "sampled")  # gates at which weights learn

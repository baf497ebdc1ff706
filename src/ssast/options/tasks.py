"""Name what a model is trained for."""

PRETEXT_TASKS = ("pretrain_mpc", "pretrain_mpg", "pretrain_joint")
FINETUNING_TASKS = ("ft_cls", "ft_avgtok")

"""Structure-aware contrastive distillation (SACD) from EEG to infrared video, and the methods it is compared with."""

__version__ = "0.1.0"

"""Why an eval set cannot be made or does not fit a model."""

from archive.errors import UsageError


class EvalSetRefused(UsageError):
    """The texts, prompts or settings give no eval set that could be measured on; the text names which and why."""


class TokenizerRefused(UsageError):
    """The tokenizer is not there, encodes nothing, or is another model's; the text names its repository."""

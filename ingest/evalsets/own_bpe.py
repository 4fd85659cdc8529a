"""A byte-pair tokenizer of one's own, made from one's own texts."""

from collections.abc import Iterable

from ingest.evalsets.hub_tokenizer import HubTokenizer, described
from ingest.evalsets.refusals import TokenizerRefused

START = "<start>"
# 256 bytes and the start token
LEAST_TOKENS = 257


def train_bpe(texts: Iterable[str], n_vocab: int) -> HubTokenizer:
    """A byte-level byte-pair tokenizer of exactly `n_vocab` tokens: a start token, the 256 bytes, then merges.

    It encodes any text, splits at white space and punctuation as GPT-2's does, and gives back every byte. A function
    of the texts and of the version of the `tokenizers` library. Raises TokenizerRefused for fewer than 257 tokens, and
    where the texts have too few different pairs for as many.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    if n_vocab < LEAST_TOKENS:
        raise TokenizerRefused(
            f"a tokenizer of {n_vocab} tokens has no room for the 256 bytes and a start token; give {LEAST_TOKENS} or more."
        )
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=n_vocab,
            special_tokens=[START],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    backend.encode_special_tokens = True  # spelled out in a document it is text
    found = backend.get_vocab_size()
    if found != n_vocab:
        raise TokenizerRefused(
            f"the texts give a tokenizer of {found} tokens, {n_vocab} were asked for; ask for {found} or less, or give "
            "more text."
        )
    return described(backend, name=f"own BPE, {n_vocab} tokens", kind="own bpe", bos=START)

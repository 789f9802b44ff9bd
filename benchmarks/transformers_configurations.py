"""Small configurations of the transformers library, and batches for them.

Text, vision and audio; encoders, decoders, both, state-space models and mixtures of experts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

SAMPLES, CLASSES, LENGTH, PIXELS = 16, 10, 12, 32
WORDS = 33

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Architecture:
    """A type of configuration, changes of its defaults, and how the model is used."""

    kind: str
    head: str  # AutoModelFor...
    options: Mapping[str, Any] = field(default_factory=dict)
    batch: Callable[[], Batch] = dict
    output: Any = "logits"
    in_double: bool = True  # whether the library computes it in float64


def words() -> Batch:
    drawn = torch.randint(3, WORDS, (SAMPLES, LENGTH))
    return {"input_ids": drawn, "attention_mask": torch.ones_like(drawn)}


def words_to_the_end() -> Batch:
    """The logits of some models are those of the word that ends a text."""
    batch = words()
    batch["input_ids"][:, -1] = 2
    return batch


def bare_words() -> Batch:
    return {"input_ids": torch.randint(3, WORDS, (SAMPLES, LENGTH))}


def both_words() -> Batch:
    decoder = torch.randint(3, WORDS, (SAMPLES, LENGTH))
    return {**words(), "decoder_input_ids": decoder}


def images(pixels: int = PIXELS) -> Batch:
    return {"pixel_values": torch.randn(SAMPLES, 3, pixels, pixels)}


def sound() -> Batch:
    return {"input_values": torch.randn(SAMPLES, 1600)}


def spectra() -> Batch:
    return {"input_features": torch.randn(SAMPLES, 80, 60)}


def patches_of_sound() -> Batch:
    return {"input_values": torch.randn(SAMPLES, 64, 32)}


def last_word(returned: Any) -> Tensor:
    """The logits of the word that follows."""
    logits: Tensor = returned.logits[:, -1]
    return logits


SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": WORDS,
    "max_position_embeddings": 64,
}
GROUPED = {**SMALL, "num_key_value_heads": 2, "head_dim": 8}
EXPERTS = {**GROUPED, "num_experts_per_tok": 2, "experts_implementation": "eager"}
WIDTHS = {"hidden_sizes": [16, 32], "depths": [1, 1], "image_size": PIXELS}
HALVES = {
    "d_model": 32,
    "vocab_size": WORDS,
    "max_position_embeddings": 64,
    "encoder_layers": 2,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 64,
}
SPEECH = {
    **SMALL,
    "conv_dim": [16, 16],
    "conv_kernel": [10, 3],
    "conv_stride": [5, 2],
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "classifier_proj_size": 16,
}
STATES = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": WORDS, "state_size": 4}


def text(kind: str, options: Mapping[str, Any] = SMALL, **more: Any) -> Architecture:
    return Architecture(kind, "SequenceClassification", {**options, **more}, words)


def language(kind: str, options: Mapping[str, Any], **more: Any) -> Architecture:
    return Architecture(kind, "CausalLM", {**options, **more}, bare_words, last_word)


def single(architecture: Architecture) -> Architecture:
    """One that the library computes in float32 alone, whatever dtype it is converted to."""
    return replace(architecture, in_double=False)


def vision(kind: str, options: Mapping[str, Any], **more: Any) -> Architecture:
    return Architecture(kind, "ImageClassification", {**options, **more}, images)


def audio(kind: str, options: Mapping[str, Any], batch: Any = sound, **more: Any) -> Architecture:
    return Architecture(kind, "AudioClassification", {**options, **more}, batch)


PATCHES = {**SMALL, "image_size": PIXELS, "patch_size": 8}
FAMILIES: dict[str, list[Architecture]] = {
    "text, encoder": [
        text("bert"),
        text("roberta"),
        text("distilbert", dim=32, n_heads=4, n_layers=2, hidden_dim=64),
        text("albert", embedding_size=16),
        text("electra", embedding_size=16),
        text("deberta-v2", relative_attention=True, pos_att_type=["p2c", "c2p"]),
        text(
            "funnel",
            {"vocab_size": WORDS, "d_model": 32},
            n_head=4,
            d_head=8,
            d_inner=64,
            block_sizes=[1, 1],
        ),
        text("convbert", embedding_size=32, conv_kernel_size=3),
        text("nystromformer", num_landmarks=4, segment_means_seq_len=12),
        text("modernbert", pad_token_id=0),
        text("fnet"),
        text("xlnet", {"vocab_size": WORDS, "d_model": 32}, n_head=4, n_layer=2, d_inner=64),
    ],
    "text, decoder": [
        text("gpt2", n_embd=32, n_layer=2, n_head=4, n_positions=64),
        text("gpt_neo", num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]]),
        text("gpt_neox"),
        text("opt", word_embed_proj_dim=32, ffn_dim=64),
        text("bloom", n_layer=2, n_head=4),
        text("llama", GROUPED),
        text("mistral", GROUPED),
        text("qwen2", GROUPED),
        text("gemma", GROUPED),
        language("phi", SMALL),
    ],
    "text, encoder and decoder": [
        Architecture("bart", "SequenceClassification", HALVES, words_to_the_end),
        Architecture("mbart", "SequenceClassification", HALVES, words_to_the_end),
        Architecture(
            "t5",
            "Seq2SeqLM",
            {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
            | {"vocab_size": WORDS},
            both_words,
            last_word,
        ),
    ],
    "state space": [
        single(language("mamba", STATES)),
        single(language("mamba2", STATES, num_heads=8, head_dim=8, n_groups=2, chunk_size=4)),
        language(
            "rwkv", {**STATES, "attention_hidden_size": 32, "context_length": 64}, use_cache=False
        ),
        language(
            "jamba",
            EXPERTS,
            num_experts=4,
            attn_layer_period=2,
            attn_layer_offset=1,
            use_mamba_kernels=False,
            mamba_d_state=4,
            mamba_dt_rank=4,
        ),
    ],
    "mixture of experts": [
        text("mixtral", EXPERTS, num_local_experts=4),
        language("qwen2_moe", EXPERTS, num_experts=4, moe_intermediate_size=32),
        language("granitemoe", EXPERTS, num_local_experts=4),
        Architecture(
            "switch_transformers",
            "Seq2SeqLM",
            {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2}
            | {"num_heads": 4, "vocab_size": WORDS, "num_experts": 4, "expert_capacity": 64}
            | {"num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1},
            both_words,
            last_word,
        ),
    ],
    "vision": [
        vision("vit", PATCHES),
        vision("deit", PATCHES, architectures=["DeiTForImageClassification"]),
        vision("beit", PATCHES, use_relative_position_bias=True),
        vision("dinov2", PATCHES),
        vision(
            "swin",
            {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4]},
            image_size=PIXELS,
            window_size=4,
            patch_size=2,
        ),
        vision(
            "swinv2",
            {"embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4]},
            image_size=PIXELS,
            window_size=4,
            patch_size=2,
        ),
        vision("convnext", WIDTHS, num_stages=2),
        vision("resnet", WIDTHS, embedding_size=16, layer_type="basic"),
        vision("regnet", WIDTHS, embedding_size=16, groups_width=8),
        vision("mobilenet_v2", {"image_size": PIXELS, "depth_multiplier": 0.35}),
        vision(
            "segformer",
            {"hidden_sizes": [16, 32], "depths": [1, 1], "num_attention_heads": [2, 4]},
            num_encoder_blocks=2,
            sr_ratios=[2, 1],
            strides=[4, 2],
            patch_sizes=[7, 3],
            mlp_ratios=[2, 2],
            decoder_hidden_size=16,
        ),
        vision(
            "poolformer",
            {"hidden_sizes": [16, 32], "depths": [1, 1]},
            num_encoder_blocks=2,
            patch_sizes=[7, 3],
            strides=[4, 2],
            padding=[2, 1],
        ),
        Architecture(
            "levit",
            "ImageClassification",
            {"hidden_sizes": [16, 32, 32], "depths": [1, 1, 1], "image_size": 64}
            | {"num_attention_heads": [2, 2, 2], "key_dim": [8, 8, 8]}
            | {"architectures": ["LevitForImageClassification"]},
            partial(images, 64),
        ),
    ],
    "audio": [
        audio("wav2vec2", SPEECH),
        audio("hubert", SPEECH),
        audio("wavlm", SPEECH),
        audio(
            "audio-spectrogram-transformer",
            SMALL,
            patches_of_sound,
            num_mel_bins=32,
            max_length=64,
            patch_size=8,
            time_stride=8,
            frequency_stride=8,
        ),
        audio(
            "whisper",
            {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2},
            spectra,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            max_source_positions=30,
            vocab_size=WORDS,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
        ),
    ],
}

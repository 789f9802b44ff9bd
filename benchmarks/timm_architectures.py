"""Scores architectures of timm with random weights: convolutional, transformer and mixed.

Every one is scored or refused with the reason. Needs `pip install timm` (no weights are fetched).
Prints the table of `vkdnw score`, whose options it takes.
"""

import sys

from torchvision_schemas import declare

LIBRARY = declare()

from vkdnw.search.cli import app  # noqa: E402 - torchvision's operators come first
from vkdnw.search.cli.exit_codes import run  # noqa: E402

CONVOLUTIONAL = """
resnet18 resnext26ts regnetx_002 regnety_002 mobilenetv2_050 mobilenetv3_small_050
mobilenetv4_conv_small efficientnet_b0 efficientnet_lite0 tf_efficientnetv2_b0 mnasnet_small
fbnetc_100 spnasnet_100 hardcorenas_a ghostnet_050 semnasnet_075 lcnet_035 tinynet_e
hrnet_w18_small densenet121 eca_nfnet_l0 dla46_c dpn48b resnest14d selecsls42 skresnet18
rexnet_100 repvgg_a0 mobileone_s0 convnext_atto convnextv2_atto inception_next_atto
repghostnet_050 repvit_m0_9 hgnetv2_b0 starnet_s1 mambaout_femto
"""
TRANSFORMERS = """
vit_tiny_patch16_224 deit_tiny_distilled_patch16_224 swin_tiny_patch4_window7_224
swinv2_tiny_window8_256 pit_ti_224 cait_xxs24_224 xcit_nano_12_p16_224 pvt_v2_b0
crossvit_tiny_240 eva02_tiny_patch14_224 tnt_s_patch16_224 hiera_tiny_224
"""
MIXED = """
mixer_s32_224 resmlp_12_224 gmlp_ti16_224 poolformer_s12 mobilevit_xxs mobilevitv2_050 coat_tiny
coatnet_nano_rw_224 levit_128s efficientformer_l1 edgenext_xx_small fastvit_t8 visformer_tiny
volo_d1_224 sequencer2d_s gcvit_xxtiny tiny_vit_5m_224 swiftformer_xs
"""


def main(options: list[str]) -> int:
    names = f"{CONVOLUTIONAL} {TRANSFORMERS} {MIXED}".split()
    return run(app, ["score", *(f"timm:{name}" for name in names), *options])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

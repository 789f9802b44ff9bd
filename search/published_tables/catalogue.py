"""The published tables, as data.

None is shipped and none is downloaded: a user gets them from where they are published. To make a
table known, add it here; any other table with a column ``arch`` can be used as well.
"""

from collections.abc import Mapping

from vkdnw.search.published_tables.table import Column, Table

MS = 1e-3
PERCENT_OF_200_EPOCHS = "test accuracy in percent after 200 epochs, mean over seeds"


def _percent(means: str, *names: str, network: str | None = None) -> dict[str, Column]:
    return {name: Column("percent", means, network) for name in names}


def _latencies(*names: str) -> dict[str, Column]:
    return {name: Column("lower", "latency in milliseconds", per=MS) for name in names}


def _throughputs(*names: str) -> dict[str, Column]:
    return {name: Column("higher", "images a second", per=1.0) for name in names}


def _energies(*names: str) -> dict[str, Column]:
    return {name: Column("lower", "energy in millijoules") for name in names}


_HW_LATENCIES = ("edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga")
_HW_ENERGIES = ("edgegpu", "eyeriss", "fpga")
_ANB_LATENCIES = ("zcu102", "vck190")
_ANB_THROUGHPUTS = ("a100", "3090", "tpuv2", "tpuv3", "zcu102", "vck190")

AUTOPROX: Mapping[str, Column] = {
    **_percent("accuracy in percent, trained from scratch", *(
        f"{data}_{how}_acc" for data in ("c100", "flower", "chaoyang") for how in ("base", "kd")
    ), network="autoprox"),
    **_percent(
        "ImageNet-1k top-1 with weights of Auto-Prox's supernet",
        "imagenet_super_acc",
        network="autoprox_supernet",
    ),
}  # fmt: skip

TABLES: tuple[Table, ...] = (
    Table(
        file="nats_tss_test_accuracy.csv.gz",
        title="NAS-Bench-201 (NATS-Bench, topology space)",
        spaces=("nb201",),
        rows=(15_625,),
        architecture="{arch}",
        accuracies=_percent(PERCENT_OF_200_EPOCHS, "cifar10", "cifar100", "ImageNet16-120"),
        source="NATS-Bench; or its release of one file per architecture, which is read too",
        url="https://github.com/D-X-Y/NATS-Bench",
        licence="MIT",
    ),
    Table(
        file="hw_nas_bench_cifar10.csv.gz",
        title="HW-NAS-Bench on NAS-Bench-201, CIFAR-10",
        spaces=("nb201",),
        rows=(15_625,),
        architecture="{arch}",
        accuracies={},
        devices={
            **_latencies(*(f"{device}_latency.cifar10" for device in _HW_LATENCIES)),
            **_energies(*(f"{device}_energy.cifar10" for device in _HW_ENERGIES)),
        },
        source="HW-NAS-Bench; -1 where a device cannot run a network",
        url="https://github.com/GATECH-EIC/HW-NAS-Bench",
        licence="MIT",
    ),
    Table(
        file="nasbench101_sample.csv.gz",
        title="NAS-Bench-101, a sample",
        spaces=("nb101",),
        rows=(20_000,),
        architecture="{upper_triangle}:{ops}",
        accuracies=_percent("CIFAR-10 test accuracy in percent, 108 epochs", "test_accuracy"),
        source="NAS-Bench-101",
        url="https://github.com/google-research/nasbench",
        licence="Apache-2.0",
    ),
    Table(
        file="transnas101_micro.csv.gz, transnas101_macro.csv.gz",
        title="TransNAS-Bench-101",
        spaces=("transnas_micro", "transnas_macro"),
        rows=(4_096, 3_256),
        architecture="{naslib}",
        accuracies={
            **_percent("top-1 in percent", "class_scene", "jigsaw"),
            "autoencoder": Column("higher", "structural similarity (SSIM)"),
        },
        source="TransNAS-Bench-101, through NASLib",
        url="https://github.com/yawen-d/TransNASBench",
        licence="MIT",
        note="architectures are NASLib's tuples; both spaces have the same columns",
    ),
    Table(
        file="nasbench301_new_tasks.csv.gz",
        title="DARTS networks on new tasks (NAS-Bench-Suite-Zero)",
        spaces=("darts",),
        rows=(199,),
        architecture="{arch}",
        accuracies=_percent(
            "validation accuracy in percent", "val_svhn", "val_scifar100", "val_ninapro"
        ),
        source="NASLib",
        url="https://github.com/automl/NASLib",
        licence="Apache-2.0",
    ),
    Table(
        file="vit_autoprox.csv.gz",
        title="Auto-Prox: AutoFormer-T and PiT",
        spaces=("autoformer_t", "pit"),
        rows=(300,),
        architecture="{arch}",
        accuracies=AUTOPROX,
        source="Auto-Prox",
        url="https://github.com/lilujunai/Auto-Prox-AAAI24",
        licence="Apache-2.0 (its README says MIT)",
        rows_of={"autoformer_t": ("space", "autoformer"), "pit": ("space", "pit")},
        note="three networks share AutoFormer's encoding: score with the network of the column",
    ),
    Table(
        file="mnasnet_imagenet.csv.gz",
        title="Accel-NASBench (MnasNet space)",
        spaces=("mnasnet",),
        rows=(5_138,),
        architecture="{arch}",
        accuracies=_percent("ImageNet-1k top-1 in percent, a short schedule", "top1"),
        devices={
            **_latencies(*(f"latency_{device}" for device in _ANB_LATENCIES)),
            **_throughputs(*(f"throughput_{device}" for device in _ANB_THROUGHPUTS)),
        },
        source="Accel-NASBench",
        url="https://github.com/afzalxo/Accel-NASBench",
        licence="Apache-2.0",
        averaged=True,
        note="13 architectures were trained twice; their mean is taken",
    ),
    Table(
        file="nb_macro_cifar10.csv.gz",
        title="NAS-Bench-Macro",
        spaces=("nb_macro",),
        rows=(6_561,),
        architecture="{arch}",
        accuracies=_percent(
            "CIFAR-10 test accuracy in percent, the best of 50 epochs, mean of 3 seeds",
            "test_accuracy",
        ),
        source="NAS-Bench-Macro",
        url="https://github.com/xiusu/NAS-Bench-Macro",
        licence="Apache-2.0",
    ),
)

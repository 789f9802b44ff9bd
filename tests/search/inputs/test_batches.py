"""Batches of images: the formats, the draws, the normalisation, and refusals."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from tests.shared import DATA, needs_data
from vkdnw.search.inputs.batches import DataError, load_batch, random_batch


@pytest.fixture
def pixels():
    """Twelve images [12, 8, 8, 3] that tell themselves apart."""
    return np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def labels():
    return np.arange(12) % 5


@pytest.fixture
def archive(tmp_path, pixels, labels):
    path = tmp_path / "images.npz"
    np.savez(path, images=pixels, labels=labels)
    return path


def normalised(images):
    """Images [B, H, W, 3], as a batch [B, 3, H, W] with each channel at mean 0, deviation 1."""
    channels = images.transpose(0, 3, 1, 2).astype(np.float64)
    over = (0, 2, 3)
    return (channels - channels.mean(over, keepdims=True)) / channels.std(over, keepdims=True)


# Noise


def test_noise_is_standard_normal_and_depends_on_the_seed_alone():
    batch = random_batch(16, 32, seed=3)
    assert batch.images.shape == (16, 3, 32, 32)
    assert batch.images.dtype == torch.float32
    assert batch.labels is None
    assert batch.sha256 is None
    assert abs(batch.images.mean()) < 0.02
    assert abs(batch.images.std() - 1) < 0.02
    torch.manual_seed(99)
    assert torch.equal(batch.images, random_batch(16, 32, seed=3).images)
    assert not torch.equal(batch.images, random_batch(16, 32, seed=4).images)


def test_noise_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    random_batch(2, 4, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("sizes", [(0, 4), (2, 0)])
def test_empty_noise_is_refused(sizes):
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        random_batch(*sizes, seed=0)


# Drawing and normalising


def test_images_are_drawn_without_replacement_and_keep_their_labels(archive, pixels, labels):
    batch = load_batch(archive, 12, 8, seed=1)
    expected = normalised(pixels)
    # The statistics are those of all twelve whatever the order, so images can be recognised.
    order = [
        int(np.abs(expected - image.numpy()).reshape(12, -1).max(1).argmin())
        for image in batch.images
    ]
    assert sorted(order) == list(range(12))
    assert order != list(range(12))
    np.testing.assert_allclose(batch.images, expected[order], atol=1e-6)
    assert batch.labels.tolist() == labels[order].tolist()
    assert batch.images.dtype == torch.float32
    assert batch.labels.dtype == torch.int64


def test_the_draw_depends_on_the_seed_alone(archive):
    batches = [load_batch(archive, 5, 8, seed) for seed in (7, 7, 8)]
    assert torch.equal(batches[0].images, batches[1].images)
    assert not torch.equal(batches[0].images, batches[2].images)


def test_normalisation_is_over_the_batch_drawn(archive):
    images = load_batch(archive, 4, 8, seed=0).images
    assert torch.allclose(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-6)
    assert torch.allclose(images.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-6)


def test_the_batch_says_where_it_is_from(archive):
    batch = load_batch(archive, 4, 8, seed=5)
    assert batch.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    for fact in ("images.npz", "12 images", "NHWC", "uint8", "seed 5", "8 pixels", "mean 0"):
        assert fact in batch.source


@pytest.mark.parametrize("shape", [(12, 20), (20, 12), (6, 4)])
def test_another_resolution_resizes_the_middle_square(tmp_path, shape):
    images = np.random.default_rng(0).random((1, *shape, 3), np.float32)
    np.savez(tmp_path / "oblong.npz", images=images)
    side = min(shape)
    top, left = (shape[0] - side) // 2, (shape[1] - side) // 2
    middle = images[0, top : top + side, left : left + side]
    # Pillow's bilinear filter widens with the scale when it makes an image smaller.
    resized = np.stack(
        [
            np.asarray(
                Image.fromarray(middle[:, :, channel]).resize((8, 8), Image.Resampling.BILINEAR)
            )
            for channel in range(3)
        ],
        axis=-1,
    )
    batch = load_batch(tmp_path / "oblong.npz", 1, 8, seed=0)
    np.testing.assert_allclose(batch.images, normalised(resized[None]), atol=1e-5)


# Formats


def test_every_layout_and_scale_of_the_same_images_gives_the_same_batch(tmp_path, pixels):
    forms = {
        "nhwc": pixels,
        "nchw": pixels.transpose(0, 3, 1, 2),
        "unit": (pixels / 255).astype(np.float32),
        "signed": pixels.transpose(0, 3, 1, 2) / 127.5 - 1,
    }
    for name, images in forms.items():
        np.savez(tmp_path / f"{name}.npz", images=images)
    expected = load_batch(tmp_path / "nhwc.npz", 6, 8, seed=0)
    assert expected.labels is None
    for name in forms:
        found = load_batch(tmp_path / f"{name}.npz", 6, 8, seed=0)
        torch.testing.assert_close(found.images, expected.images, rtol=0, atol=1e-5)


@pytest.mark.parametrize("content", ["tensor", "pair", "dict", "dict without labels", "bfloat16"])
def test_tensors_in_a_pt_file(tmp_path, archive, pixels, labels, content):
    images, targets = torch.from_numpy(pixels), torch.from_numpy(labels)
    forms = {
        "tensor": images,
        "pair": (images, targets),
        "dict": {"images": images, "labels": targets},
        "dict without labels": {"images": images},
        "bfloat16": images.bfloat16(),  # holds every integer up to 256 exactly
    }
    torch.save(forms[content], tmp_path / "images.pt")
    found = load_batch(tmp_path / "images.pt", 6, 8, seed=2)
    expected = load_batch(archive, 6, 8, seed=2)
    assert torch.equal(found.images, expected.images)
    if content in ("pair", "dict"):
        assert torch.equal(found.labels, expected.labels)
    else:
        assert found.labels is None


def save_folder(root, pixels, folders):
    for index, (image, folder) in enumerate(zip(pixels, folders, strict=True)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / folder / f"{index:02d}.png")


def test_a_folder_of_images_at_any_depth(tmp_path, pixels):
    save_folder(tmp_path, pixels, ["cat/a", "dog"] * 6)
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    batch = load_batch(tmp_path, 12, 8, seed=0)
    order = [*range(0, 12, 2), *range(1, 12, 2)]  # sorted paths: cat/a/00, 02, ..., dog/01, 03, ...
    drawn = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(batch.images, normalised(pixels)[order][drawn], atol=1e-6)
    assert batch.labels.tolist() == [index // 6 for index in drawn.tolist()]
    assert "folder of 12 images" in batch.source


def test_a_folder_has_labels_only_if_every_image_is_in_a_class(tmp_path, pixels):
    save_folder(tmp_path, pixels, ["cat"] * 11 + ["."])
    assert load_batch(tmp_path, 3, 8, seed=0).labels is None


def test_the_folder_digest_tells_names_and_sizes(tmp_path, pixels):
    save_folder(tmp_path, pixels, ["cat"] * 12)
    before = load_batch(tmp_path, 3, 8, seed=0).sha256
    assert load_batch(tmp_path, 3, 8, seed=1).sha256 == before
    (tmp_path / "cat" / "00.png").rename(tmp_path / "cat" / "x.png")
    assert load_batch(tmp_path, 3, 8, seed=0).sha256 != before


def test_grey_and_palette_images_become_rgb(tmp_path, pixels):
    Image.fromarray(pixels[0, :, :, 0]).save(tmp_path / "grey.png")
    Image.fromarray(pixels[1]).convert("P").save(tmp_path / "palette.png")
    assert load_batch(tmp_path, 2, 8, seed=0).images.shape == (2, 3, 8, 8)


@pytest.mark.parametrize(("name", "classes"), [("CIFAR-10", 10), ("CIFAR-100", 100)])
def test_cifar_binary_files(tmp_path, name, classes):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 3, 32, 32), dtype=np.uint8)
    fine = rng.integers(0, classes, (6, 1), dtype=np.uint8)
    coarse = rng.integers(0, 20, (6, classes // 100), dtype=np.uint8)  # CIFAR-100 only
    np.hstack([coarse, fine, images.reshape(6, -1)]).tofile(tmp_path / "train.bin")
    batch = load_batch(tmp_path / "train.bin", 6, 32, seed=0)
    drawn = torch.randperm(6, generator=torch.Generator().manual_seed(0))
    assert batch.labels.tolist() == fine[drawn, 0].tolist()
    expected = normalised(images.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(batch.images, expected[drawn], atol=1e-6)
    assert f"{name} binary" in batch.source


@needs_data
def test_real_cifar_images():
    batch = load_batch(DATA / "cifar10_train_896.npz", 64, 32, seed=1)
    assert batch.images.shape == (64, 3, 32, 32)
    assert set(batch.labels.tolist()) <= set(range(10))
    assert "896 images, NCHW, uint8" in batch.source


# Refusals


def test_too_few_images_are_refused(archive):
    with pytest.raises(DataError, match=r"12 image\(s\), fewer than a batch of 13"):
        load_batch(archive, 13, 8, seed=0)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros(3)}, "no array 'images'; it has x"),
        ({"images": np.zeros((4, 8, 8), np.uint8)}, r"not \[4, 8, 8\], where neither axis"),
        ({"images": np.zeros((4, 1, 8, 8), np.uint8)}, "neither axis 1 nor axis 3 is 3"),
        ({"images": np.zeros((4, 3, 8, 3), np.uint8)}, "both could be the channels"),
        ({"images": np.zeros((4, 3, 8, 8), np.int64)}, "uint8 or floating point, not int64"),
        ({"images": np.zeros((4, 3, 8, 8), np.uint8)}, "channel 0 has one value in all 2 images"),
        ({"images": np.full((4, 3, 8, 8), np.nan)}, "not finite"),
        (
            {"images": np.zeros((4, 3, 8, 8)), "labels": np.zeros(3, int)},
            r"labels must be 4 integers.*got int64 \[3\]",
        ),
        ({"images": np.zeros((4, 3, 8, 8)), "labels": np.zeros(4)}, "got float64"),
        ({"images": np.array([{}], object)}, "cannot be read as a NumPy archive"),
    ],
)
def test_arrays_that_are_no_images_are_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(DataError, match=message):
        load_batch(tmp_path / "bad.npz", 2, 8, seed=0)


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
@pytest.mark.parametrize("kept", [0, 10, 200, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path, archive, pixels, suffix, kept):
    whole = archive.read_bytes()
    if suffix == ".pt":
        torch.save(torch.from_numpy(pixels), tmp_path / "whole.pt")
        whole = (tmp_path / "whole.pt").read_bytes()
    length = kept if isinstance(kept, int) else int(len(whole) * kept)
    (tmp_path / f"cut{suffix}").write_bytes(whole[:length])
    with pytest.raises(DataError, match=r"cut.* cannot be read"):
        load_batch(tmp_path / f"cut{suffix}", 2, 8, seed=0)


def test_a_damaged_archive_is_refused(archive):
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DataError, match="CRC"):
        load_batch(archive, 2, 8, seed=0)


def test_a_single_array_is_no_archive(tmp_path, pixels):
    np.save(tmp_path / "array.npy", pixels)
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    with pytest.raises(DataError, match="cannot be read as a NumPy archive"):
        load_batch(tmp_path / "array.npz", 2, 8, seed=0)


class Payload:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_nothing_is_unpickled(tmp_path):
    trace = tmp_path / "trace"
    torch.save({"images": Payload(trace)}, tmp_path / "evil.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Payload(trace), protocol=2))
    np.savez(tmp_path / "evil.npz", images=np.array([Payload(trace)], object))
    for name in ("evil.pt", "bare.pt", "evil.npz"):
        with pytest.raises(DataError, match="cannot be read"):
            load_batch(tmp_path / name, 1, 8, seed=0)
    assert not trace.exists()


@pytest.mark.parametrize("content", [[1, 2, 3], {"x": torch.zeros(2)}, "text"])
def test_a_pt_file_without_images_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(DataError, match="expected a tensor of images"):
        load_batch(tmp_path / "other.pt", 1, 8, seed=0)


def test_a_damaged_image_is_named(tmp_path, pixels):
    save_folder(tmp_path, pixels, ["cat"] * 12)
    (tmp_path / "cat" / "05.png").write_bytes(b"\x89PNG\r\n\x1a\n nonsense")
    with pytest.raises(DataError, match=r"cat.05\.png cannot be read as an image"):
        load_batch(tmp_path, 12, 8, seed=0)


def test_an_image_that_is_a_dead_link_is_named(tmp_path, pixels):
    save_folder(tmp_path, pixels, ["cat"] * 12)
    (tmp_path / "cat" / "z.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"cannot be opened.*z\.png"):
        load_batch(tmp_path, 2, 8, seed=0)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="no images below"):
        load_batch(tmp_path, 1, 8, seed=0)


@pytest.mark.parametrize("content", [b"", b"\0" * 3000, b"\xff" * 3073])
def test_a_bin_file_that_is_not_cifar_is_refused(tmp_path, content):
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(DataError, match=f"{len(content)} bytes are not whole records"):
        load_batch(tmp_path / "x.bin", 1, 32, seed=0)


def test_what_is_not_there_or_has_another_suffix_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no file or folder of images at .*nowhere"):
        load_batch(tmp_path / "nowhere.npz", 1, 8, seed=0)
    (tmp_path / "images.pkl").touch()
    with pytest.raises(DataError, match=r"'\.pkl' is not known.*\.npz, \.pt, \.bin"):
        load_batch(tmp_path / "images.pkl", 1, 8, seed=0)

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mask_sup.data.backgrounds import PastedBackgrounds, cut_out, emptied, moved
from mask_sup.data.rooms import painted_room
from mask_sup.geometry.batch import Camera, Views

SIZE = 32
RED, GREEN, BLUE = torch.eye(3)[:, :, None, None]


def figure(size=SIZE):
    """An upright figure in the middle, a bar with soft edges: (1, size, size)."""
    across = (torch.arange(size) + 0.5 - size / 2).abs()
    soft = (size / 8 + 1 - across).clamp(0, 2) / 2
    rows = torch.zeros(size)
    rows[size // 8 : -(size // 8)] = 1
    return (rows[:, None] * soft)[None]


def views_of(image, mask, weight=None):
    n, v = image.shape[:2]
    camera = Camera(torch.zeros(n, v, 3, 3), torch.zeros(n, v, 3, 3), torch.zeros(n, v, 3))
    weight = torch.ones_like(mask) if weight is None else weight
    return Views(image, mask, weight, camera, *torch.zeros(3, n, dtype=torch.int64))


def coloured(backgrounds, mask_size=SIZE):
    """Red figures, one moment before each of these colours, (n, 2 views)."""
    share = figure()
    images = torch.stack([share * RED + (1 - share) * colour for colour in backgrounds])
    mask = figure(mask_size).expand(len(images), 2, mask_size, mask_size)
    return views_of(images[:, None].repeat(1, 2, 1, 1, 1), mask.contiguous())


def pasted(views, own=0.0, painted=0.0, people=0.0, seed=0):
    make = PastedBackgrounds(own, painted, people, seed=3)
    return make(views, torch.Generator().manual_seed(seed))


def noise(n=4, v=3, seed=0):
    image = torch.rand(n, v, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))
    return views_of(0.1 + 0.9 * image, figure().expand(n, v, SIZE, SIZE).contiguous())


@pytest.mark.parametrize("kinds", [{}, {"people": 1.0}, {"painted": 1.0}])
def test_the_person_stays_and_all_around_is_something_else(kinds):
    views = noise()
    image = pasted(views, **kinds)
    inside = F.max_pool2d(1 - figure(), 3, 1, 1)[0] == 0
    outside = figure()[0] == 0
    assert inside.sum() > SIZE
    assert torch.equal(image[..., inside], views.image[..., inside])
    assert ((image - views.image).abs().amax(2)[..., outside] > 0.01).float().mean() > 0.95
    assert image.min() >= 0
    assert image.max() <= 1


def test_nothing_that_is_given_is_written_to():
    views = noise()
    before = [part.clone() for part in views[:3]]
    pasted(views, own=0.2, painted=0.4, people=0.5)
    assert all(torch.equal(*pair) for pair in zip(before, views[:3], strict=True))


def test_people_stand_before_what_other_moments_show():
    backgrounds = torch.stack([GREEN, BLUE, GREEN + BLUE, torch.full_like(RED, 0.5)])
    views = coloured(backgrounds)
    seen = set()
    for seed in range(8):
        corner = pasted(views, seed=seed)[..., 0, 0]  # (n, v, 3)
        apart = (corner[:, :, None] - backgrounds[:, :, 0, 0]).abs().amax(-1)
        assert apart.amin(-1).max() < 0.02  # it is one of them
        for moment in range(len(backgrounds)):
            assert moment not in apart[moment].argmin(-1)  # and not one's own
            seen |= {(moment, int(other)) for other in apart[moment].argmin(-1)}
    assert len(seen) == 4 * 3  # any of the others


@pytest.mark.parametrize(
    ("mask_size", "left"),
    [(SIZE, 0.01), (SIZE // 2, 0.08)],  # of a coarse mask, nothing of this figure is far inside
)
def test_no_edge_keeps_colours_of_the_old_background(mask_size, left):
    views = coloured([GREEN, BLUE], mask_size)
    image = pasted(views)
    at = SIZE // 2
    red, green, blue = image[0, 0, :, at]  # one row: blue, the figure, blue
    assert green.max() < left
    torch.testing.assert_close(red + blue, torch.ones(SIZE), atol=left, rtol=0)
    assert ((red > 0.1) & (red < 0.9)).sum() in (2, 4)  # soft, and no wider than it was
    torch.testing.assert_close(red, figure()[0, at], atol=0.3, rtol=0)


def test_masks_that_are_nowhere_sure_cut_out_what_they_show():
    red = RED.expand(1, 3, SIZE, SIZE)
    person, share = cut_out(red, 0.9 * figure()[None])
    middle = (..., SIZE // 2, SIZE // 2)
    torch.testing.assert_close(person[middle], red[middle])
    torch.testing.assert_close(share[middle], torch.tensor([[0.9]]))


def test_thin_limbs_keep_their_colours():
    mask = torch.zeros(1, 1, SIZE, SIZE)
    mask[..., 4:28, 16:18] = 1
    image = mask * RED + (1 - mask) * GREEN
    person, share = cut_out(image, mask)
    torch.testing.assert_close(person[..., 4:28, 16:18], image[..., 4:28, 16:18])
    assert torch.equal(share, mask)


def test_crops_without_their_people_go_on_as_they_are_around_them():
    ramp = torch.linspace(0.2, 0.8, SIZE)[:, None].expand(1, 3, SIZE, SIZE)
    share = figure()[None]
    empty = emptied(share * RED + (1 - share) * ramp, share)
    assert (empty - ramp).abs().max() < 0.1
    far = F.max_pool2d(share, 7, 1, 3)[0, 0] == 0
    torch.testing.assert_close(empty[..., far], ramp[..., far])


def test_what_is_beyond_a_picture_is_shown_behind_nobody():
    picture = torch.full((1, 3, SIZE, SIZE), 0.6)
    picture[..., : SIZE // 3] = 0
    torch.testing.assert_close(emptied(picture, torch.zeros(1, 1, SIZE, SIZE)).min(), picture.max())


def test_a_crop_without_any_background_has_none_to_show():
    full = torch.ones(1, 1, SIZE, SIZE)
    assert emptied(RED.expand(1, 3, SIZE, SIZE), full).isfinite().all()


def test_who_is_cut_off_at_the_end_of_a_picture_stays_so():
    views = coloured([GREEN, BLUE])
    views.image[..., -6:, :] = 0
    views.mask[..., -6:, :] = 0
    views.weight[..., -6:, :] = 0
    image = pasted(views)
    assert image[..., -6:, :].max() == 0
    assert image[..., 0, 0].max() > 0.9


def test_other_people_stand_aside():
    dot = torch.zeros(64, 3, SIZE, SIZE)
    dot[..., 12:20, 12:20] = 1
    numbers = torch.rand(4, 64, generator=torch.Generator().manual_seed(0))
    places = moved(dot, *numbers)
    assert places[..., 13:19, 13:19].max() == 0
    assert (places.amax((1, 2, 3)) > 0.9).float().mean() > 0.9  # and most are still seen
    again = moved(dot, *numbers)
    assert torch.equal(places, again)


def test_half_of_what_is_behind_is_seen_in_a_mirror():
    ramp = torch.linspace(0, 1, SIZE).expand(2, 3, SIZE, SIZE)
    middle = torch.full((2,), 0.5)
    turned = moved(ramp, torch.tensor([0.2, 0.8]), middle, middle, middle)
    one, other = turned[:, 0, SIZE // 2]
    torch.testing.assert_close(one, other.flip(0))
    assert not torch.allclose(one, other)


def test_chances_are_those_that_are_told():
    views = noise(n=40, v=4)
    kept = (pasted(views, own=0.3, painted=0.5) == views.image).flatten(2).all(2)
    assert 0.2 < kept.float().mean() < 0.4
    assert torch.equal(pasted(views, own=1.0), views.image)
    grey = views._replace(image=torch.full_like(views.image, 0.5))
    plain = (pasted(grey, own=0.3, painted=0.4) - 0.5).abs().flatten(2).amax(2) < 1e-6
    assert 0.5 < plain.float().mean() < 0.7  # other crops are as grey; 0.4 are before rooms
    two = coloured([GREEN, BLUE]).image.repeat(40, 1, 1, 1, 1)
    crowd = coloured([GREEN, BLUE])._replace(
        image=two, weight=torch.ones(80, 2, SIZE, SIZE), mask=figure().expand(80, 2, SIZE, SIZE)
    )
    beside = pasted(crowd, people=0.25)[..., 0, :, :4].mean((2, 3))
    assert 0.1 < (beside > 0.3).float().mean() < 0.4


def test_painted_rooms_differ_and_are_those_of_the_seed():
    views = coloured([GREEN, BLUE])
    corners = pasted(views, painted=1.0)[..., 0, 0].flatten(0, 1)
    assert torch.pdist(corners).min() > 0.01
    assert torch.equal(pasted(views, painted=1.0), pasted(views, painted=1.0))
    other = PastedBackgrounds(0.0, 1.0, 0.0, seed=4)(views, torch.Generator().manual_seed(0))
    assert not torch.equal(other, pasted(views, painted=1.0))


@pytest.mark.parametrize(("n", "v"), [(1, 1), (1, 2), (2, 1)])
def test_small_batches(n, v):
    for kinds in ({}, {"people": 1.0}, {"painted": 1.0}):
        image = pasted(noise(n, v), **kinds)
        assert image.shape == (n, v, 3, SIZE, SIZE)
        assert image.isfinite().all()


@pytest.mark.parametrize("image_size", [33, 100])
def test_any_size_of_picture_and_mask(image_size):
    image = torch.rand(2, 2, 3, image_size, image_size)
    views = views_of(image, figure(24).expand(2, 2, 24, 24).contiguous())
    assert pasted(views, own=0.3, painted=0.3, people=0.5).shape == image.shape


@pytest.mark.parametrize(
    "shares", [(-0.1, 0.5, 0.5), (0.6, 0.5, 0.0), (0.0, 1.1, 0.0), (0.0, 0.0, 1.5)]
)
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="data.pasted: expected shares"):
        PastedBackgrounds(*shares, seed=0)


def test_a_room_has_a_wall_and_a_floor():
    room = painted_room(np.random.default_rng(1))
    assert room.shape == (256, 256, 3)
    assert room.min() >= 0
    assert room.max() <= 255
    assert np.abs(room[20].mean(0) - room[-5].mean(0)).max() > 5

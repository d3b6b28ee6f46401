"""Disk space that is set aside while there is some, and lent when there is none."""

from pathlib import Path

from support.disks import fill, small_disk

from tailrace.storage.reserve import Reserve

MIB = 1024 * 1024


def test_space_is_set_aside_and_lent_when_the_disk_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64) as disk:
        reserve = Reserve(disk / "reserve", 2 * MIB)
        reserve.keep()
        with reserve.lent() as is_short:
            assert not is_short
        filling = fill(disk)
        with reserve.lent() as is_short:
            assert is_short
            (disk / "made").write_bytes(bytes(2 * MIB - 64 * 1024))

        assert not (disk / "reserve").exists()
        reserve.keep()  # there is no space for it yet
        assert not (disk / "reserve").exists()
        filling.unlink()
        reserve.keep()
        assert (disk / "reserve").stat().st_blocks * 512 == 2 * MIB


def test_no_more_than_a_share_of_a_small_disk_is_set_aside(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 32) as disk:
        Reserve(disk / "reserve", 8 * MIB).keep()
        assert (disk / "reserve").stat().st_size == MIB


def test_what_frees_space_at_the_same_time_shares_the_reserve(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 32) as disk:
        reserve = Reserve(disk / "reserve")
        reserve.keep()
        filling = fill(disk)
        with reserve.lent():
            with reserve.lent():
                filling.unlink()
            assert not (disk / "reserve").exists()  # the other still works
        assert (disk / "reserve").exists()


def test_a_directory_in_place_of_the_reserve_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "reserve").mkdir()
    reserve = Reserve(tmp_path / "reserve", size_bytes=4096 * 1024)

    reserve.release()
    reserve.keep()
    with reserve.lent() as short:
        assert not short

from lookalike.utils.timing import listening, stage


def test_time_is_added_up_by_stage_and_only_while_somebody_listens() -> None:
    with stage("decode"):
        pass
    with listening() as seconds:
        for _ in range(3):
            with stage("encode"):
                pass
        with stage("search"):
            pass
    with stage("rerank"):
        pass
    assert set(seconds) == {"encode", "search"}
    assert all(spent >= 0 for spent in seconds.values())


def test_a_stage_that_fails_is_counted_all_the_same() -> None:
    with listening() as seconds:
        try:
            with stage("decode"):
                raise ValueError
        except ValueError:
            pass
    assert list(seconds) == ["decode"]

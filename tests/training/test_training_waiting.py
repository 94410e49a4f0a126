"""Training says how long it waited for images, once a stage, and only where it trained."""

import re

LINE = re.compile(r"(\w+): (\d+\.\d)% of the time went by in waiting for images")


def told(answer):
    return [match.groups() for line in answer.out if (match := LINE.fullmatch(line))]


def test_each_training_stage_says_its_share(finished):
    shares = told(finished[1])
    assert [stage for stage, _ in shares] == ["warmup", "finetune"]
    assert all(0 < float(share) < 100 for _, share in shares)  # there are no workers: images are made while it waits


def test_nothing_trained_nothing_said(again):
    answer = again()
    assert answer.code == 0
    assert told(answer) == []

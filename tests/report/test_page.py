"""The page of a run: whole, asking for nothing from elsewhere, and nothing from data is HTML."""

import json
from html.parser import HTMLParser

import pytest

from nnabla_detofa.report.contents import by_name, data_parts, detector_rows, flat, reasons
from nnabla_detofa.report.curves import read_curves
from nnabla_detofa.report.folder import explain
from nnabla_detofa.report.links import renew_links
from nnabla_detofa.report.page import ends, page

NASTY = "<script>alert('&')</script>"
SECTIONS = ["front", "detectors", "samples", "classes", "operations", "losses", "training", "filter", "seconds", "data"]
SECTIONS += ["settings", "versions"]
RANKS = {"kendall_tau": 0.5, "precision": None, "accuracy": 0.5, "recall": 0.5}
OPERATIONS = """stage,layer,depth,width,expand,flops,score,bucket,kept,reason
0,0,0,0.65,0.2,10,0.5,0,True,
0,0,0,1.0,0.2,12,0.25,0,False,lowest 10% of <all>
1,0,0,1.0,0.2,12,0.75,0,True,kept: no path would be left
"""
PICTURE = {"name": NASTY, "uri": "data:image/jpeg;base64,AAAA", "truth": []}
PICTURE["found"] = [{"left": 1.0, "top": 2.0, "width": 3.0, "height": 4.0, "text": NASTY}]


class Page(HTMLParser):
    """Tags with their attributes, ids of sections, and text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open += [tag] if tag not in ("meta", "img", "wbr") else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data if self.open[-1:] != ["style"] else ""

    def values(self, name):
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def row(number, ap, **more):
    return {"path": [number, -1], "flops": number * 10**7, "score": 0.5, "ap": ap, "budget": number * 1e7, **more}


@pytest.fixture
def summary():
    """Of DetOFA's method, with all that a row may have."""
    own = {"ap_interval": [0.1, 0.3], "ap_per_class": [0.25, None]}
    largest = {"path": [3, -1], "flops": 3 * 10**7, "ap": 0.3, "name": NASTY, **own}
    return {
        **{"seed": 0, "dataset": NASTY, "strategy": NASTY, "metric": "voc07", "classes": [NASTY, "cat"]},
        "test": {"dataset": NASTY, "images": 1200, "image_size": 32},
        **{"space_size": 1000, "pruned_space_size": 100, "cost": {"name": "flops", "unit": "MACs"}},
        "seconds": {"warmup": 5.0, "paths_warmup": 1.0, "operations": 2.0, "finetune": 300.0, "paths_final": 2.0},
        **{"path_pruning_share": 0.1, "rejected_share": 0.25, "rejected_share_per_bucket": [0.25]},
        "filter_quality": {"filter": RANKS, "same_images": {NASTY: RANKS, "FLOPs": {**RANKS, "kendall_tau": None}}},
        "pareto": [row(1, 0.2, **own, equal_to=[2], file="detectors/1-<&>M"), row(2, 0.1, **own, file="../secret")],
        "largest": largest,
    }


@pytest.fixture
def write(tmp_path):
    """The page of a summary and a folder of the run's files."""
    folder = tmp_path / NASTY.replace("/", "")
    folder.mkdir()
    (folder / "operations.csv").write_text(OPERATIONS)
    for name in ("paths_warmup.csv", "paths_final.csv"):
        (folder / name).write_text("bucket,flops,loss,gene\n0,10000000,0.5,1\n0,20000000,0.25,1\n")
    (folder / "data.json").write_text(
        json.dumps(
            {
                "splits": {
                    "train": {"name": NASTY, "images": 5, "classes": {NASTY: 3}, "counts": {"crowd": 2}},
                    "test": {"name": "test", "images": 5, "classes": {"cat": 3}, "counts": {}},
                },
                "policy": {"crowd": NASTY},
            }
        )
    )
    exported = folder / "detectors" / "1-<&>M"
    exported.mkdir(parents=True)
    for name in ("detector.json", "detector.onnx", "sums.json", "detector.tmp"):
        (exported / name).write_text("")

    def written(summary):
        own = {"settings": [(NASTY, NASTY)], "versions": {NASTY: NASTY}}
        samples = [{"name": NASTY, "pictures": [PICTURE]}]
        text = page(folder, summary, edges=[1e7, 2e7, 3e7], samples=samples, **own)
        (folder / "report.html").write_text(text)
        return folder, Page(text)

    return written


def test_the_page_is_whole_and_asks_for_nothing_from_elsewhere(write, summary):
    _, found = write(summary)
    assert found.open == []
    assert [attributes["id"] for tag, attributes in found.tags if tag == "section"] == SECTIONS
    assert {f"#{name}" for name in SECTIONS} <= set(found.values("href"))
    assert all(one.startswith("data:image/") for one in found.values("src"))
    assert not [one for one in found.values("href") if ":" in one or one.startswith("/")]
    assert {tag for tag, _ in found.tags} & {"script", "link", "iframe", "object", "base"} == set()
    assert len([one for one in found.values("src") if one.startswith("data:image/svg")]) == 4  # without curves
    assert all(attributes["alt"] for tag, attributes in found.tags if tag == "img")
    for text in (
        "lowest 10% of <all>",
        "95 % interval",
        "10.00 – 30.00",
        "1,200 test images"[:5],
        "5 min",
        "crowd"[:0],
    ):
        assert text in found.text


@pytest.mark.parametrize(("size", "said"), [(32, "at 32 pixels"), ([96, 128], "at 96 × 128 pixels")])
def test_the_size_of_the_images_is_said(write, summary, size, said):
    summary["test"]["image_size"] = size
    _, found = write(summary)
    assert said in " ".join(found.text.split())


def test_nothing_from_data_is_html(write, summary):
    _, found = write(summary)
    assert found.text.count(NASTY) >= 12
    assert not [one for one in found.values("style") if "<" in one]


def test_links_lead_to_the_files_of_a_detector(write, summary):
    def links(found):
        return [one for one in found.values("href") if not one.startswith("#")]

    folder, found = write(summary)
    (folder.parent / "secret").mkdir()
    (folder.parent / "secret" / "detector.onnx").touch()
    assert links(found) == [f"detectors/1-%3C%26%3EM/detector.{kind}" for kind in ("onnx", "json")]
    _, again = write(summary)
    assert links(again) == links(found)
    (folder / "detectors" / "1-<&>M" / "detector.h5").touch()
    (folder / "stages.json").write_text("{}")
    renew_links(folder)
    text = (folder / "report.html").read_text()
    assert links(Page(text)) == [f"detectors/1-%3C%26%3EM/detector.{kind}" for kind in ("onnx", "h5", "json")]
    assert Page(text).text == again.text.replace("onnx json", "onnx h5 json")  # nothing else changed


def test_a_run_without_a_page_gets_none(tmp_path):
    renew_links(tmp_path)
    assert not [*tmp_path.iterdir()]


def test_rows_of_another_cost_and_the_front(summary):
    pareto = [row(1, 0.2, cost=4 * 10**6), row(2, 0.1, cost=10**6)]
    rows = detector_rows({**summary, "pareto": pareto, "largest": {**summary["largest"], "cost": 5 * 10**6}})
    assert [(one["cost"], one["flops"], one["on_front"]) for one in rows] == [
        (4, 10, True),
        (1, 20, True),
        (5, 30, True),
    ]
    assert detector_rows(summary)[1]["on_front"] is False
    cheapest = ({"pareto": pareto, "largest": summary["largest"]}, summary, {**summary, "pareto": [summary["largest"]]})
    assert [[*ends(one)] for one in cheapest] == [[(2, -1), (3, -1)], [(1, -1), (3, -1)], [(3, -1)]]


def test_a_method_without_filter_and_pruning_says_so(write, summary):
    """Files that an earlier method left in the folder are not of this run."""
    none = {"filter_quality": None, "rejected_share": None, "seconds": {"warmup": 1.0}}
    bare = [{key: one for key, one in row(1, 0.2).items() if key != "score"}]
    largest = {key: summary["largest"][key] for key in ("path", "flops", "ap", "name")}
    _, found = write({**summary, **none, "pareto": bare, "largest": largest})
    assert [attributes["id"] for tag, attributes in found.tags if tag == "section"] == SECTIONS
    assert len([one for one in found.values("src") if one.startswith("data:image/svg")]) == 1
    assert "95 % interval" not in found.text and "lowest" not in found.text and "One detector" in found.text


def test_operations_are_counted_by_what_happened_to_them():
    rows = [
        {"kept": kept, "reason": why}
        for kept, why in (("True", ""), ("False", "a"), ("False", "a"), ("True", "kept: b"))
    ]
    assert reasons(rows) == [("pruned", "a", 2), ("kept by a guard", "b", 1)]


def test_a_data_set_that_was_not_examined_has_no_parts(tmp_path):
    (tmp_path / "data.json").write_text("{}")
    assert data_parts(tmp_path / "data.json") == data_parts(tmp_path / "none.json") == []


def test_options_have_keys_with_dots():
    given = {"a": {"b": 1, "c": {"d": None, "e": {}}}, "f": ["ü"]}
    assert flat(given) == [("a.b", "1"), ("a.c.d", "null"), ("a.c.e", "{}"), ("f", '["ü"]')]


def test_curves_are_of_the_last_session_that_wrote_them(tmp_path):
    from nnabla_nas.utils.tensorboard import SummaryWriter

    for points in ({5: 1.0, 10: 2.0, 15: 3.0}, {10: 4.0}):
        writer = SummaryWriter(str(tmp_path / "tensorboard"))
        for step, value in points.items():
            writer.add_scalar("finetune/loss", value, step)
        writer.close()
    (tmp_path / "tensorboard" / "events.none").write_bytes(b"no events")
    curves = read_curves(tmp_path)
    assert curves == {"finetune/loss": [(5, 1.0), (10, 4.0)]}
    assert by_name(curves, {"finetune": 1.0}) == {"loss": {"finetune": curves["finetune/loss"]}}
    assert by_name(curves, {"warmup": 1.0}) == {}
    assert read_curves(tmp_path / "none") == {}


class Folder:
    """As `Stages` has it."""

    writes = True

    def __init__(self, path):
        self.path = path

    def __truediv__(self, name):
        return self.path / name


def test_the_folder_explains_what_is_there(tmp_path):
    for name in ("summary.json", "report.html", "path_filter_final.h5", ".lock", "notes of mine"):
        (tmp_path / name).touch()
    assert list(explain(Folder(tmp_path))) == [f"report: {tmp_path / 'report.html'}"]
    first, _, *rest = (tmp_path / "README.txt").read_text().splitlines()
    assert "report.html" in first
    assert [line.split()[0] for line in rest] == ["report.html", "summary.json", "path_filter_final.h5"]
    assert all(len(line.split()) > 2 for line in rest)


def test_a_folder_without_a_page_says_where_to_begin(tmp_path):
    (tmp_path / "summary.json").touch()
    assert list(explain(Folder(tmp_path))) == []
    assert "summary.json" in (tmp_path / "README.txt").read_text().splitlines()[0]

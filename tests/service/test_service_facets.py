"""What filters can be about: columns and facts, each value with a test that finds as many images as it says."""

from pathlib import Path

from tests.service.running import running
from tests.support.pictures import picture


def test_every_value_comes_with_a_filter_that_finds_as_many_images_as_it_counts(tmp_path: Path) -> None:
    folder, table = tmp_path / "photos", tmp_path / "table.csv"
    (folder / "trip").mkdir(parents=True)
    lines = ["key,mood,stars,alike"]
    for number in range(6):
        name = f"trip/{number}.png" if number < 2 else f"{number}.jpg"
        picture(number).save(folder / name)
        lines.append(f"{name},{('calm', 'loud')[number % 2]},{number % 3},x")
    table.write_text("\n".join(lines))
    with running(folder) as service:
        with service.served.writer() as collection:
            assert collection.attach(table) == (6, 6)
        facets = {facet["name"]: facet["values"] for facet in service.client.get("/v1/facets").json()["facets"]}
        assert {value["value"]: value["count"] for value in facets["mood"]} == {"calm": 3, "loud": 3}
        assert {value["value"]: value["count"] for value in facets["stars"]} == {"0": 2, "1": 2, "2": 2}
        assert {value["value"]: value["count"] for value in facets["format"]} == {"JPEG": 4, "PNG": 2}
        # What is the same everywhere tells nothing apart.
        assert "alike" not in facets
        id_ = service.ids()["3.jpg"]
        for name, values in facets.items():
            for value in values:
                found = service.search(query={"id": id_}, k=9, where=value["test"]).json()["results"]
                assert len(found) == value["count"], (name, value)

from raysafe.tracking.comparison import views_of
from raysafe.tracking.views import page_state

HEADLINE = ["eval/win_rate", "eval/safety_score", "eval/asr_direct", "eval/utility"]


def names(columns):
    return [column.name for column in columns]


def test_the_main_view_compares_the_swept_settings_and_the_headline_metrics():
    main = views_of({"gamma": 5, "objective": 2, "seed": 1}, HEADLINE)[0]
    assert names(main.columns) == ["gamma", "objective", *HEADLINE]
    assert set(main.charts[0].axes) == set(main.columns) and main.charts[0].axes[-1] == main.order, (
        "the last axis gives the colour"
    )
    assert main.order.name == "eval/safety_score"


def test_gamma_by_p_is_there_where_both_are_swept():
    with_both = {view.key: view for view in views_of({"gamma": 2, "percent": 2}, HEADLINE)}
    assert names(with_both["gamma-p"].charts[1].axes) == ["gamma", "percent", "eval/safety_score"]
    assert "gamma-p" not in {view.key for view in views_of({"gamma": 2, "percent": 1}, HEADLINE)}


def test_a_sweep_without_utility_has_no_picture_of_it():
    assert "safety-utility" not in {view.key for view in views_of({"gamma": 2}, ["eval/safety_score"])}


def test_selections_are_rankings():
    view = views_of({"gamma": 2}, HEADLINE)[-1]
    assert (view.kind, view.stage, names(view.columns)[:2]) == ("stage", "rank", ["gamma", "selector"])


def test_trials_of_two_evaluations_are_in_no_view_together():
    views = [view for view in views_of({"gamma": 2}, HEADLINE, ["aa", "bb"]) if view.kind == "trial"]
    assert [(view.key, view.evaluation) for view in views[:2]] == [("compare", "aa"), ("compare-2", "bb")]
    assert len({view.key for view in views}) == len(views) and {view.evaluation for view in views} == {"aa", "bb"}
    assert page_state(views[1])["searchFilter"] == "tags.`raysafe.kind` = 'trial' and tags.`raysafe.evaluation` = 'bb'"
    assert {view.evaluation for view in views_of({"gamma": 2}, HEADLINE, ["aa"])} == {None}

from forwardauth.core.secret import Secret


def test_a_secret_is_a_text_whose_repr_hides_it() -> None:
    secret = Secret("hunter2hunter2")
    assert secret == "hunter2hunter2"
    assert "hunter2" not in repr([secret])

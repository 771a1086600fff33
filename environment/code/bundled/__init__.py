from environment.code.models import CodeProblem


def problems() -> list[CodeProblem]:
    return []

"""Everything the clients can do, declared once."""

from .calls import projects as _projects
from .calls import runs as _runs
from .calls import tasks as _tasks
from .operations import Once, Several


class Operations:
    """What `Client` and `AsyncClient` have in common: the API's operations."""

    projects = Several(_projects.every)
    project = Once(_projects.one)
    put_project = Once(_projects.put)
    counts = Once(_projects.counts)

    submit = Once(_tasks.submit)
    add = Once(_tasks.add)
    predict = Once(_tasks.predict)
    tasks = Several(_tasks.every)
    task = Once(_tasks.one)
    delete_task = Once(_tasks.delete)
    export = Several(_tasks.export)
    annotate = Once(_tasks.annotate)
    withdraw_annotation = Once(_tasks.withdraw)

    runs = Several(_runs.every)
    run = Once(_runs.one)
    run_errors = Several(_runs.errors)
    follow = Several(_runs.follow)

"""Everything the clients can do, declared once."""

from .calls import access as _access
from .calls import learning as _learning
from .calls import leases as _leases
from .calls import operations as _operations
from .calls import projects as _projects
from .calls import runs as _runs
from .calls import tasks as _tasks
from .calls import webhooks as _webhooks
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
    emit = Once(_tasks.emit)
    withdraw_annotation = Once(_tasks.withdraw)
    trace = Once(_operations.trace)

    train = Once(_learning.train)
    trainings = Several(_learning.trainings)
    training = Once(_learning.training)
    training_log = Once(_learning.training_log)
    cancel_training = Once(_learning.cancel_training)
    models = Several(_learning.models)
    versions = Several(_learning.versions)
    version = Once(_learning.version)
    promote = Once(_learning.promote)
    rollback = Once(_learning.rollback)
    curve = Once(_learning.curve)
    label_curves = Once(_learning.label_curves)
    acceptance = Once(_learning.acceptance)
    quality = Once(_learning.quality)
    reject = Once(_learning.reject)

    lease = Once(_leases.lease)
    renew_lease = Once(_leases.renew_lease)
    release_lease = Once(_leases.release_lease)
    stopping = Once(_leases.stopping)

    runs = Several(_runs.every)
    run = Once(_runs.one)
    run_errors = Several(_runs.errors)
    follow = Several(_runs.follow)

    me = Once(_access.me)
    keys = Several(_access.keys)
    key = Once(_access.key)
    create_key = Once(_access.create_key)
    revoke_key = Once(_access.revoke_key)
    create_link = Once(_access.create_link)
    providers = Several(_access.providers)
    audit = Several(_access.audit)

    subscriptions = Several(_webhooks.every)
    subscription = Once(_webhooks.one)
    create_subscription = Once(_webhooks.create)
    change_subscription = Once(_webhooks.change)
    delete_subscription = Once(_webhooks.delete)
    rotate_secret = Once(_webhooks.rotate)
    test_subscription = Once(_webhooks.attempt)
    resume_subscription = Once(_webhooks.resume)
    deliveries = Several(_webhooks.deliveries)
    delivery = Once(_webhooks.delivery)
    resend = Once(_webhooks.resend)
    recover = Once(_webhooks.recover)
    recovery = Once(_webhooks.recovery)

    dead_letters = Several(_operations.dead_letters)
    dead_letter = Once(_operations.dead_letter)
    replay_one = Once(_operations.replay_one)
    discard = Once(_operations.discard)
    replay = Once(_operations.replay)
    replay_state = Once(_operations.replay_state)
    rebuild = Once(_operations.rebuild)
    rebuild_state = Once(_operations.rebuild_state)

"""Addresses of the pages, by noun."""

from django.urls import URLPattern, URLResolver, path

from workflows.pages.views import approvals, documents, history, home, runs, workflows

urlpatterns: list[URLPattern | URLResolver] = [
    path("", home.home, name="home"),
    path("favicon.ico", home.favicon),
    # workflows/
    path("workflows/", workflows.list_workflows, name="workflows"),
    path("workflows/<str:name>/", workflows.workflow, name="workflow"),
    # runs/
    path("runs/", runs.list_runs, name="runs"),
    path("runs/<uuid:run_id>/", runs.run, name="run"),
    path("runs/<uuid:run_id>/cancel/", runs.cancel, name="run-cancel"),
    path("runs/<uuid:run_id>/resume/", runs.resume, name="run-resume"),
    path("runs/<uuid:run_id>/delete/", runs.delete, name="run-delete"),
    path("runs/<uuid:run_id>/answer/", approvals.answer, name="run-answer"),
    path("runs/<uuid:run_id>/result.json", history.result, name="run-result"),
    path("runs/<uuid:run_id>/steps/", history.steps, name="run-steps"),
    path("runs/<uuid:run_id>/log/", history.log, name="run-log"),
    # approvals/
    path("approvals/", approvals.list_approvals, name="approvals"),
    # documents/
    path("documents/", documents.list_documents, name="documents"),
    path("documents/<uuid:document_id>/", documents.document, name="document"),
    path("documents/<uuid:document_id>/file", documents.file, name="document-file"),
    path(
        "documents/<uuid:document_id>/pages/<int:number>.png",
        documents.page_image,
        name="document-page",
    ),
]

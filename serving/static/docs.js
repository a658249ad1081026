// Swagger UI over this reader's own document; no validator, since that would be another host.
const docs = document.getElementById("docs");
window.SwaggerUIBundle({
  domNode: docs, url: docs.dataset.document, validatorUrl: null, deepLinking: true, tryItOutEnabled: true,
});

// Starts Swagger UI on this service's own document, and fills in what is known: whose token it is, which task was made, which change was the last.
"use strict";

function fill(system, name, value) {
  for (const [path, item] of system.specSelectors.paths()) {
    if (!path.includes(`{${name}}`)) continue;
    for (const method of item.keySeq().filter((key) => key !== "parameters")) {
      system.specActions.changeParam([path, method], name, "path", value, false);
    }
  }
}

function subject(token) {
  try {
    const bytes = Uint8Array.from(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)).sub;
  } catch {
    return undefined; // the server will say what is wrong with it
  }
}

const knownValues = (system) => ({
  statePlugins: {
    auth: {
      wrapActions: {
        authorize: (original) => (given) => {
          const token = given.bearer.value.trim().replace(/^Bearer\s+/i, "");
          const result = original({ ...given, bearer: { ...given.bearer, value: token } });
          const user = subject(token);
          if (user) fill(system, "user_id", user);
          return result;
        },
      },
    },
    spec: {
      wrapActions: {
        setResponse: (original) => (path, method, response) => {
          const { status, headers = {}, text, url } = response; // a refusal has no headers here
          if (status === 201) fill(system, path.endsWith("/lists") ? "list_id" : "task_id", JSON.parse(text).id);
          if (status === 204 && /\/(tasks|lists)\/\{\w+\}$/.test(path)) fill(system, "trashed_id", url.split("/").at(-1));
          if (headers.change) fill(system, "number", Number(headers.change));
          return original(path, method, response);
        },
      },
    },
  },
});

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#page",
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: "none", // never send the document to a validator elsewhere
  plugins: [knownValues],
});

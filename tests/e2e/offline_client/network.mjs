// A network that can be down, and that loses answers: a proxy in front of the server, with sockets of its own.
import http from "node:http";

export class Network {
  #online = true;
  #lose = 0;
  lost = 0; // answers to writes that happened
  replayed = 0; // answers that came again
  refused = []; // the statuses of 4xx, with their paths
  streams = 0; // that began

  constructor(url) {
    this.server = http.createServer((request, response) => this.#pass(new URL(request.url, url), request, response));
  }

  async open() {
    await new Promise((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${this.server.address().port}`;
    return this;
  }

  down() {
    this.#online = false;
    this.server.closeAllConnections();
  }

  up() {
    this.#online = true;
  }

  /** The next answers to writes get lost, after the server has given them. */
  loseAnswers(count) {
    this.#lose = count;
  }

  close() {
    this.server.close();
    this.server.closeAllConnections();
  }

  #pass(url, request, response) {
    if (!this.#online) return request.socket.destroy();
    const onward = http.request(url, { method: request.method, headers: request.headers }, (answer) => {
      if (request.method !== "GET" && this.#lose > 0) {
        this.#lose -= 1;
        this.lost += 1;
        return answer.resume().on("end", () => request.socket.destroy());
      }
      if (answer.headers["idempotency-replayed"]) this.replayed += 1;
      if (answer.statusCode >= 400) this.refused.push(`${answer.statusCode} ${url.pathname.split("/")[3]}`);
      if (answer.headers["content-type"] === "text/event-stream") this.streams += 1;
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => request.socket.destroy());
    response.on("close", () => onward.destroy());
    request.pipe(onward);
  }
}

// The far aim: what somebody who minds the cost most writes by hand in Go, with net/http and pgx.
//
// It does what the peer in Fastify does with a request, with the same statements. It is not installed with the
// benchmark: Go's packages come from elsewhere. With Debian's (golang-go, golang-github-jackc-pgx-v5-dev,
// golang-github-golang-jwt-jwt-v5-dev):
//
//	GO111MODULE=off GOPATH=/usr/share/gocode CGO_ENABLED=0 go build -o /tmp/go-peer benchmarks/go/server.go
//	nox -s bench -- --also "Go + pgx=/tmp/go-peer"
//
//go:debug httpmuxgo121=0
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const schema = `
	create table owners (user_id text primary key, number bigint not null, live int not null);
	create table tasks (
		user_id text, id uuid, title text not null, description text, completed boolean not null default false,
		priority text, tags text[] not null, start_date text, due_date text, time_zone text,
		version bigint not null default 1, created_at timestamptz not null default now(),
		updated_at timestamptz not null default now(), primary key (user_id, id)
	);
	create index tasks_newest on tasks (user_id, created_at desc, id desc);
	create table changes (
		user_id text, number bigint, id uuid, at timestamptz not null, action text not null, before jsonb, after jsonb,
		primary key (user_id, number, id)
	)`

const columns = `user_id, id::text, title, description, completed, priority, tags, start_date, due_date, time_zone,
	version, created_at, updated_at`

const create = `
	with raised as (
		insert into owners values ($1, 1, 1)
		on conflict (user_id) do update set number = owners.number + 1, live = owners.live + 1 where owners.live < 1000000
		returning user_id, number
	), made as (
		insert into tasks (user_id, id, title, description, priority, tags, start_date, due_date, time_zone)
		select user_id, $2::uuid, $3, $4, $5, $6, $7, $8, $9 from raised returning *
	), logged as (
		insert into changes (user_id, number, id, at, action, after)
		select user_id, number, id, now(), 'created', to_jsonb(made) from made join raised using (user_id)
	) select ` + columns + ` from made`

const list = `select ` + columns + ` from tasks where user_id = $1 order by created_at desc, id desc limit $2`

const get = `select ` + columns + ` from tasks where user_id = $1 and id = $2::uuid`

const toggle = `
	with held as materialized (
		select number from owners where user_id = $1 for no key update
	), toggled as (
		update tasks set completed = not completed, version = version + 1, updated_at = now() from held
		where user_id = $1 and id = $2::uuid returning tasks.*, held.number + 1 as number
	), raised as (
		update owners set number = toggled.number from toggled where owners.user_id = toggled.user_id
	), logged as (
		insert into changes
		select user_id, number, id, now(), case when completed then 'completed' else 'reopened' end,
			jsonb_build_object('completed', not completed, 'version', version - 1),
			jsonb_build_object('completed', completed, 'version', version) from toggled
	) select ` + columns + ` from toggled`

type given struct {
	Title       string   `json:"title"`
	Description *string  `json:"description"`
	Priority    *string  `json:"priority"`
	Tags        []string `json:"tags"`
	StartDate   *string  `json:"start_date"`
	DueDate     *string  `json:"due_date"`
	TimeZone    *string  `json:"time_zone"`
}

type task struct {
	UserID string `json:"user_id"`
	ID     string `json:"id"`
	given
	Completed bool      `json:"completed"`
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

func (g given) valid() bool {
	long := func(text *string, most int) bool { return text != nil && len(*text) > most }
	if g.Title == "" || long(&g.Title, 200) || long(g.Description, 1000) || long(g.StartDate, 19) {
		return false
	}
	if long(g.DueDate, 19) || long(g.TimeZone, 64) || len(g.Tags) > 20 {
		return false
	}
	return g.Priority == nil || slices.Contains([]string{"high", "medium", "low"}, *g.Priority)
}

type window struct {
	count int
	ends  time.Time
}

type server struct {
	pool   *pgxpool.Pool
	secret []byte
	limit  int
	log    *slog.Logger

	mutex   sync.Mutex
	users   map[[32]byte]string // by their token's digest
	windows map[string]*window
}

// user is who sent the request, and the status that refuses it, or 0.
func (s *server) user(request *http.Request) (string, int) {
	token := strings.TrimPrefix(request.Header.Get("Authorization"), "Bearer ")
	digest := sha256.Sum256([]byte(token))
	s.mutex.Lock()
	defer s.mutex.Unlock()
	user, known := s.users[digest]
	if !known {
		claims := jwt.RegisteredClaims{}
		key := func(*jwt.Token) (any, error) { return s.secret, nil }
		if _, err := jwt.ParseWithClaims(token, &claims, key, jwt.WithValidMethods([]string{"HS256"})); err != nil {
			return "", http.StatusUnauthorized
		}
		user = claims.Subject
		s.users[digest] = user
	}
	if request.PathValue("user") != user {
		return user, http.StatusForbidden
	}
	now, counted := time.Now(), s.windows[user]
	if counted == nil || now.After(counted.ends) {
		counted = &window{ends: now.Add(time.Hour)}
		s.windows[user] = counted
	}
	if counted.count++; counted.count > s.limit {
		return user, http.StatusTooManyRequests
	}
	return user, 0
}

type answer struct {
	status int
	body   any
}

func newID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:])
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	text := hex.EncodeToString(raw[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

var sameForAll = map[string]string{
	"Cache-Control":                "private, no-cache",
	"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
	"Content-Type":                 "application/json",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Referrer-Policy":              "no-referrer",
	"Strict-Transport-Security":    "max-age=31536000",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
}

// handled answers with what `act` returns, and writes a line in the access log.
func (s *server) handled(act func(*http.Request, string) (answer, error)) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		began, id, done := time.Now(), newID(), answer{}
		user, refused := s.user(request)
		if refused != 0 {
			done.status = refused
		} else if made, err := act(request, user); errors.Is(err, pgx.ErrNoRows) {
			done.status = http.StatusNotFound
		} else if err != nil {
			done.status = http.StatusInternalServerError
			s.log.Error(err.Error())
		} else {
			done = made
		}
		headers := writer.Header()
		for name, value := range sameForAll {
			headers.Set(name, value)
		}
		headers.Set("X-Request-Id", id)
		headers.Set("Vary", "Origin")
		if request.Header.Get("Origin") == "http://localhost:3000" {
			headers.Set("Access-Control-Allow-Origin", "http://localhost:3000")
		}
		var body []byte
		if done.body != nil {
			body, _ = json.Marshal(done.body)
		}
		headers.Set("Content-Length", strconv.Itoa(len(body)))
		writer.WriteHeader(done.status)
		_, _ = writer.Write(body)
		s.log.LogAttrs(request.Context(), slog.LevelInfo, "",
			slog.String("method", request.Method), slog.String("route", request.Pattern),
			slog.Int("status", done.status), slog.Float64("ms", float64(time.Since(began).Microseconds())/1000),
			slog.String("user", user), slog.String("request_id", id))
	}
}

func (s *server) one(ctx context.Context, sql string, arguments ...any) (task, error) {
	rows, err := s.pool.Query(ctx, sql, arguments...)
	if err != nil {
		return task{}, err
	}
	return pgx.CollectExactlyOneRow(rows, read)
}

func read(row pgx.CollectableRow) (task, error) {
	var t task
	err := row.Scan(&t.UserID, &t.ID, &t.Title, &t.Description, &t.Completed, &t.Priority, &t.Tags, &t.StartDate,
		&t.DueDate, &t.TimeZone, &t.Version, &t.CreatedAt, &t.UpdatedAt)
	return t, err
}

func (s *server) create(request *http.Request, user string) (answer, error) {
	body := given{Tags: []string{}}
	decoder := json.NewDecoder(io.LimitReader(request.Body, 1<<16))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&body) != nil || !body.valid() {
		return answer{status: http.StatusBadRequest}, nil
	}
	made, err := s.one(request.Context(), create, user, newID(), body.Title, body.Description, body.Priority, body.Tags,
		body.StartDate, body.DueDate, body.TimeZone)
	return answer{http.StatusCreated, made}, err
}

func (s *server) list(request *http.Request, user string) (answer, error) {
	limit := 50
	if asked, err := strconv.Atoi(request.URL.Query().Get("limit")); err == nil {
		limit = min(asked, 200)
	}
	rows, err := s.pool.Query(request.Context(), list, user, limit)
	if err != nil {
		return answer{}, err
	}
	items, err := pgx.CollectRows(rows, read)
	return answer{http.StatusOK, map[string]any{"items": items}}, err
}

func (s *server) get(request *http.Request, user string) (answer, error) {
	found, err := s.one(request.Context(), get, user, request.PathValue("id"))
	return answer{http.StatusOK, found}, err
}

func (s *server) toggle(request *http.Request, user string) (answer, error) {
	toggled, err := s.one(request.Context(), toggle, user, request.PathValue("id"))
	return answer{http.StatusOK, toggled}, err
}

// lines writes the log in batches, as the other servers do.
type lines struct {
	mutex  sync.Mutex
	buffer *bufio.Writer
}

func (l *lines) Write(line []byte) (int, error) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.buffer.Write(line)
}

func (l *lines) flush() {
	for range time.Tick(10 * time.Millisecond) {
		l.mutex.Lock()
		_ = l.buffer.Flush()
		l.mutex.Unlock()
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	target := must(url.Parse(os.Getenv("DATABASE_URL")))
	query := target.Query()
	query.Set("pool_max_conns", "10")
	target.RawQuery = query.Encode()
	written := &lines{buffer: bufio.NewWriterSize(os.Stdout, 1<<16)}
	go written.flush()
	s := &server{
		pool:    must(pgxpool.New(ctx, target.String())),
		secret:  []byte(os.Getenv("BETTER_AUTH_SECRET")),
		limit:   must(strconv.Atoi(strings.Split(os.Getenv("TODO_RATE_LIMIT"), "/")[0])),
		log:     slog.New(slog.NewJSONHandler(written, nil)),
		users:   map[[32]byte]string{},
		windows: map[string]*window{},
	}
	must(s.pool.Exec(ctx, schema))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/live", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /api/{user}/tasks", s.handled(s.create))
	mux.HandleFunc("GET /api/{user}/tasks", s.handled(s.list))
	mux.HandleFunc("GET /api/{user}/tasks/{id}", s.handled(s.get))
	mux.HandleFunc("PATCH /api/{user}/tasks/{id}/complete", s.handled(s.toggle))
	listening := &http.Server{Addr: "127.0.0.1:" + os.Getenv("PORT"), Handler: mux}
	go func() {
		<-ctx.Done()
		_ = listening.Shutdown(context.Background())
	}()
	if err := listening.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		panic(err)
	}
}

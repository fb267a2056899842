// Command webhook is the floor that Slipway's receiver is measured against
// (performance aim P1): a bare gin handler that verifies the HMAC, parses the
// push and appends it to a Redis stream with one XADD. It keeps nobody from
// sending a delivery twice and is of no other use.
package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/redis/go-redis/v9"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "`address` to listen on")
	redisURL := flag.String("redis", "", "`URL` of Redis")
	secret := flag.String("secret", "", "the webhook's secret")
	flag.Parse()
	if err := serve(*listen, *redisURL, []byte(*secret)); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func serve(listen, redisURL string, secret []byte) error {
	o, err := redis.ParseURL(redisURL)
	if err != nil {
		return fmt.Errorf("reading the URL of Redis: %w", err)
	}
	rdb := redis.NewClient(o)
	defer rdb.Close()
	if err := rdb.Ping(context.Background()).Err(); err != nil {
		return fmt.Errorf("reaching Redis: %w", err)
	}
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.GET("/healthz", func(c *gin.Context) { c.Status(http.StatusOK) })
	e.POST("/webhooks/github", receive(rdb, secret))
	server := &http.Server{Addr: listen, Handler: e, ReadHeaderTimeout: 10 * time.Second}
	return server.ListenAndServe()
}

// push is what a handler of pushes would want of one.
type push struct {
	Ref, Before, After       string
	Created, Deleted, Forced bool
	Repository               struct {
		ID            int64
		FullName      string `json:"full_name"`
		CloneURL      string `json:"clone_url"`
		DefaultBranch string `json:"default_branch"`
		Private       bool
	}
	Sender struct {
		ID    int64
		Login string
	}
	Installation struct{ ID int64 }
	Commits      []struct {
		ID, Message              string
		Added, Removed, Modified []string
	}
}

func receive(rdb *redis.Client, secret []byte) gin.HandlerFunc {
	return func(c *gin.Context) {
		body, err := io.ReadAll(c.Request.Body)
		if err != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		mac := hmac.New(sha256.New, secret)
		mac.Write(body)
		want := "sha256=" + hex.EncodeToString(mac.Sum(nil))
		if !hmac.Equal([]byte(want), []byte(c.GetHeader("X-Hub-Signature-256"))) {
			c.Status(http.StatusUnauthorized)
			return
		}
		var p push
		if err := json.Unmarshal(body, &p); err != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		add := &redis.XAddArgs{Stream: "floor:deliveries", Values: []any{
			"delivery", c.GetHeader("X-GitHub-Delivery"), "event", c.GetHeader("X-GitHub-Event"), "repo", p.Repository.FullName, "body", body,
		}}
		if err := rdb.XAdd(c.Request.Context(), add).Err(); err != nil {
			c.Status(http.StatusServiceUnavailable)
			return
		}
		c.JSON(http.StatusAccepted, gin.H{"status": "queued"})
	}
}

package handlers

import (
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/slipway-ci/slipway/pipeline"
)

// cacheQuery are the parameters that name an entry of a cache.
var cacheQuery = []param{
	{"version", "string", "SHA-256 of the list of paths"},
	{"key", "string", "of the entry; empty for the project's one entry"},
	{"fallback", "string", "prefix of keys to look for next; may be repeated"},
}

const fallbackLimit = 5

// cache is the service behind the requests and what a request asks of it.
func (w workerAPI) cache(c *gin.Context) (pipeline.Caches, pipeline.JobRef, pipeline.CacheQuery, error) {
	q := pipeline.CacheQuery{Version: c.Query("version"), Key: c.Query("key"), Fallbacks: c.QueryArray("fallback")}
	ref, err := w.ref(c)
	caches, ok := w.s.Control.(pipeline.Caches)
	switch {
	case err != nil:
	case len(q.Fallbacks) > fallbackLimit:
		err = refuse(http.StatusBadRequest, "fallback", "want at most %d fallback keys", fallbackLimit)
	case !ok:
		err = fmt.Errorf("caches: %w", pipeline.ErrNotFound)
	}
	return caches, ref, q, err
}

func (w workerAPI) findCache(c *gin.Context) {
	caches, ref, q, err := w.cache(c)
	if err != nil {
		w.s.fail(c, err)
		return
	}
	e, r, err := caches.RestoreCache(c.Request.Context(), ref, q)
	if err != nil {
		w.s.fail(c, err)
		return
	}
	_ = r.Close() // nothing of it was read
	c.JSON(http.StatusOK, e)
}

func (w workerAPI) getCache(c *gin.Context) {
	caches, ref, q, err := w.cache(c)
	if err != nil {
		w.s.fail(c, err)
		return
	}
	_, r, err := caches.RestoreCache(c.Request.Context(), ref, q)
	if err != nil {
		w.s.fail(c, err)
		return
	}
	defer r.Close()
	c.Header("Content-Type", "application/octet-stream")
	w.s.copyOut(c, r)
}

func (w workerAPI) putCache(c *gin.Context) {
	caches, ref, q, err := w.cache(c)
	if err == nil {
		var e pipeline.CacheEntry
		if e, err = caches.SaveCache(c.Request.Context(), ref, q, steady(c)); err == nil {
			c.JSON(http.StatusCreated, e)
			return
		}
	}
	w.s.fail(c, err)
}

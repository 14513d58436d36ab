package provider

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// Uploader is the ability of an Adapter to say which media are too large for its
// vendor's requests. They are handed over before the call: by URL, where the vendor
// takes one and there is a [Publisher], else as a file of the vendor's, for which the
// adapter has the operations on files.
type Uploader interface {
	// Uploads returns what goes by value with an operation.
	Uploads(op schemas.Operation) Uploads
}

// Uploads is what a vendor takes by value. The zero value takes everything.
type Uploads struct {
	Each int64 // bytes of one medium; 0: no bound but All
	All  int64 // bytes of all media of a request: beyond it the largest are handed over
	// Files are the kinds that the vendor takes as files of its own, URLs those that it
	// gets from an address.
	Files, URLs []schemas.PartKind
	Purpose     string // of a file, in the vendor's words
}

// Publisher puts media where vendors can get them. It is safe for concurrent use.
type Publisher interface {
	// Publish returns the name of what it has put there, and its address.
	Publish(ctx context.Context, m *schemas.Media) (name, url string, err error)
	// Withdraw takes it back. It returns no error for what is not there.
	Withdraw(ctx context.Context, name string) error
}

// What was handed over is known by one of these and a name.
const (
	handedFile = "file "
	handedURL  = "url "
)

// Waits of handing over.
const (
	takeBackTimeout = 10 * time.Second
	fileLook        = 500 * time.Millisecond // between two looks at a file that the vendor is not done with
)

// handOver returns the call with what is too large for it handed over, and the names
// to take back when it is over. With an error nothing is left to take back.
func (p *overHTTP) handOver(ctx context.Context, call Call) (Call, []string, error) {
	rules, ok := p.adapter.(Uploader)
	if !ok || call.Request.File != nil || !carriesMedia(call.Request) {
		return call, nil, nil
	}
	rule := rules.Uploads(call.Request.Operation())
	large := tooLarge(call, &rule)
	if len(large) == 0 {
		return call, nil, nil
	}
	var handed []string
	var first error
	req, _ := swapMedia(call.Request, func(field string, kind schemas.PartKind, m *schemas.Media) (schemas.Media, bool) {
		if first != nil || !large[field] {
			return *m, false
		}
		name, out, err := p.handOne(ctx, call, &rule, kind, m)
		if name != "" {
			handed = append(handed, name)
		}
		if err != nil {
			first = about(field, err)
		}
		return out, err == nil
	})
	if first != nil {
		p.takeBack(ctx, call, handed)
		return call, nil, first
	}
	call.Request = req
	return call, handed, nil
}

// tooLarge returns the fields of the media that have to be handed over.
func tooLarge(call Call, rule *Uploads) map[string]bool {
	type medium struct {
		field string
		size  int64
	}
	var movable []medium
	left, large := int64(0), map[string]bool{}
	swapMedia(call.Request, func(field string, kind schemas.PartKind, m *schemas.Media) (schemas.Media, bool) {
		size := int64(len(m.Data))
		can := slices.Contains(rule.Files, kind) || call.Publish != nil && slices.Contains(rule.URLs, kind)
		switch {
		case can && rule.Each > 0 && size > rule.Each:
			large[field] = true
		case can && size > 0:
			movable = append(movable, medium{field, size})
			left += size
		default:
			left += size
		}
		return *m, false
	})
	slices.SortStableFunc(movable, func(a, b medium) int { return cmp.Compare(b.size, a.size) })
	for _, m := range movable {
		if rule.All <= 0 || left <= rule.All {
			break
		}
		large[m.field] = true
		left -= m.size
	}
	return large
}

// handOne hands one medium over.
func (p *overHTTP) handOne(ctx context.Context, call Call, rule *Uploads, kind schemas.PartKind, m *schemas.Media) (name string, out schemas.Media, err error) {
	out = *m
	if call.Publish != nil && slices.Contains(rule.URLs, kind) {
		name, url, err := call.Publish.Publish(ctx, m)
		if err != nil {
			f := schemas.Fail(schemas.Internal, "can't be published", err)
			f.NoRetry = true
			return "", out, f
		}
		out.Data, out.URL = nil, url
		return handedURL + name, out, nil
	}
	content := *m
	content.Name = cmp.Or(content.Name, string(kind))
	req := fileRequest(call.Request, schemas.OpFileUpload, &schemas.FileSpec{Content: &content, Purpose: rule.Purpose})
	upload := Call{Request: req, Model: call.Model}
	file, err := p.file(ctx, upload)
	if err != nil {
		return "", out, err
	}
	name = handedFile + file.ID
	for file.State == "PROCESSING" {
		select {
		case <-time.After(fileLook):
		case <-ctx.Done():
			return name, out, overdue(ctx, schemas.Fail(schemas.Unavailable, "is not taken in by the provider in time", ctx.Err()))
		}
		look := Call{Request: fileRequest(call.Request, schemas.OpFileGet, &schemas.FileSpec{ID: file.ID}), Model: call.Model}
		if file, err = p.file(ctx, look); err != nil {
			return name, out, err
		}
	}
	if file.State == "FAILED" {
		return name, out, schemas.Fail(schemas.InvalidRequest, "can't be read by the provider", nil)
	}
	out.Data, out.FileID, out.Provider = nil, file.ID, ""
	return name, out, nil
}

func fileRequest(of *schemas.Request, op schemas.Operation, f *schemas.FileSpec) *schemas.Request {
	return &schemas.Request{ID: of.ID, Tenant: of.Tenant, Model: of.Model, Op: op, File: f}
}

// file makes one exchange about a file.
func (p *overHTTP) file(ctx context.Context, call Call) (*schemas.File, error) {
	res, err := p.ask(ctx, call, nil)
	if err != nil {
		return nil, err
	}
	if len(res.Files) != 1 || res.Files[0].ID == "" {
		return nil, schemas.Fail(schemas.MalformedResponse, "is answered by the provider with no file", nil)
	}
	return &res.Files[0], nil
}

// takeBack removes what was handed over. Where that fails the vendor forgets it after
// a while, and what was published stays.
func (p *overHTTP) takeBack(ctx context.Context, call Call, handed []string) {
	if len(handed) == 0 {
		return
	}
	// The call may be over because its context is.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackTimeout)
	defer cancel()
	for _, name := range handed {
		if id, ok := strings.CutPrefix(name, handedFile); ok {
			req := fileRequest(call.Request, schemas.OpFileDelete, &schemas.FileSpec{ID: id})
			_, _ = p.ask(ctx, Call{Request: req, Model: call.Model}, nil)
		} else if at, ok := strings.CutPrefix(name, handedURL); ok && call.Publish != nil {
			_ = call.Publish.Withdraw(ctx, at)
		}
	}
}

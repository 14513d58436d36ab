package simulate_test

import (
	"encoding/json"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	claude "github.com/anthropics/anthropic-sdk-go"
	claudeoption "github.com/anthropics/anthropic-sdk-go/option"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"

	"github.com/sira-ai/sira/handlers/simulate"
)

func openaiClient(server *httptest.Server, retries int, extra ...option.RequestOption) openai.Client {
	return openai.NewClient(append([]option.RequestOption{
		option.WithBaseURL(server.URL + "/openai/v1"), option.WithAPIKey("any"),
		option.WithHTTPClient(server.Client()), option.WithMaxRetries(retries),
	}, extra...)...)
}

func claudeClient(server *httptest.Server, retries int, extra ...claudeoption.RequestOption) claude.Client {
	return claude.NewClient(append([]claudeoption.RequestOption{
		claudeoption.WithBaseURL(server.URL + "/anthropic"), claudeoption.WithAPIKey("any"),
		claudeoption.WithHTTPClient(server.Client()), claudeoption.WithMaxRetries(retries),
	}, extra...)...)
}

func openaiParams() openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model: "gpt-4o-mini", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Tell me of the sea.")},
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
	}
}

func claudeParams() claude.MessageNewParams {
	return claude.MessageNewParams{
		Model: "claude-haiku-4-5", MaxTokens: 100,
		Messages: []claude.MessageParam{claude.NewUserMessage(claude.NewTextBlock("Tell me of the sea."))},
	}
}

func TestOpenAISDKReadsAnswers(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{Instances: map[string]simulate.Behaviour{"default": {CachedShare: 1}}})
	client := openaiClient(server, 0)
	params := openaiParams()
	params.StreamOptions = openai.ChatCompletionStreamOptionsParam{}
	got, err := client.Chat.Completions.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	words := int64(len(strings.Fields(got.Choices[0].Message.Content)))
	if u := got.Usage; words < 16 || words != u.CompletionTokens || u.PromptTokens+words != u.TotalTokens || u.PromptTokensDetails.CachedTokens != u.PromptTokens/2 {
		t.Errorf("%d words, usage %+v", words, u)
	}
	if got.Choices[0].FinishReason != "stop" || !strings.HasPrefix(got.ID, "chatcmpl-") || got.Model != "gpt-4o-mini" || got.Created == 0 {
		t.Errorf("answer %s", got.RawJSON())
	}
	params.MaxCompletionTokens = openai.Int(5)
	got, err = client.Chat.Completions.New(t.Context(), params)
	if err != nil || got.Usage.CompletionTokens != 5 || got.Choices[0].FinishReason != "length" {
		t.Errorf("bounded: %v %s", err, got.RawJSON())
	}
}

func TestOpenAISDKAccumulatesStreams(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{})
	client := openaiClient(server, 0)
	stream := client.Chat.Completions.NewStreaming(t.Context(), openaiParams())
	var acc openai.ChatCompletionAccumulator
	for stream.Next() {
		if !acc.AddChunk(stream.Current()) {
			t.Fatalf("chunk not accepted: %s", stream.Current().RawJSON())
		}
	}
	if err := errors.Join(stream.Err(), stream.Close()); err != nil {
		t.Fatal(err)
	}
	words := int64(len(strings.Fields(acc.Choices[0].Message.Content)))
	if words < 16 || words != acc.Usage.CompletionTokens || acc.Choices[0].FinishReason != "stop" {
		t.Errorf("%d words, usage %+v, ended by %s", words, acc.Usage, acc.Choices[0].FinishReason)
	}
}

// openaiStream reads a stream to its end.
func openaiStream(t *testing.T, client openai.Client, params openai.ChatCompletionNewParams) openai.ChatCompletionAccumulator {
	t.Helper()
	stream := client.Chat.Completions.NewStreaming(t.Context(), params)
	var acc openai.ChatCompletionAccumulator
	for stream.Next() {
		acc.AddChunk(stream.Current())
	}
	if err := errors.Join(stream.Err(), stream.Close()); err != nil {
		t.Fatal(err)
	}
	return acc
}

func TestOpenAISDKReadsToolCalls(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{})
	client := openaiClient(server, 0)
	params := openaiParams()
	for _, name := range []string{"weather", "tide"} {
		params.Tools = append(params.Tools, openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: name, Parameters: shared.FunctionParameters{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}},
		}))
	}
	for want, choice := range map[string]openai.ChatCompletionToolChoiceOptionUnionParam{
		"weather": {OfAuto: openai.String("required")},
		"tide":    openai.ToolChoiceOptionFunctionToolChoice(openai.ChatCompletionNamedToolChoiceFunctionParam{Name: "tide"}),
		"":        {OfAuto: openai.String("auto")},
	} {
		params.ToolChoice = choice
		acc := openaiStream(t, client, params)
		checkOpenAITool(t, acc.ChatCompletion, want)
		once := params
		once.StreamOptions = openai.ChatCompletionStreamOptionsParam{}
		got, err := client.Chat.Completions.New(t.Context(), once)
		if err != nil {
			t.Fatal(err)
		}
		checkOpenAITool(t, *got, want)
	}
}

func checkOpenAITool(t *testing.T, got openai.ChatCompletion, want string) {
	t.Helper()
	choice := got.Choices[0]
	if want == "" {
		if choice.FinishReason != "stop" || len(choice.Message.ToolCalls) != 0 || choice.Message.Content == "" {
			t.Errorf("auto: %+v", choice)
		}
		return
	}
	if choice.FinishReason != "tool_calls" || len(choice.Message.ToolCalls) != 1 {
		t.Fatalf("%s: %+v", want, choice)
	}
	call := choice.Message.ToolCalls[0]
	var input struct{ Input string }
	if err := json.Unmarshal([]byte(call.Function.Arguments), &input); err != nil || input.Input == "" {
		t.Errorf("%s: arguments %q: %v", want, call.Function.Arguments, err)
	}
	if call.Function.Name != want || !strings.HasPrefix(call.ID, "call_") {
		t.Errorf("call %+v, want of %s", call, want)
	}
}

func TestOpenAISDKReadsErrorsAndRetries(t *testing.T) {
	t.Parallel()
	sim, server := start(t, simulate.Config{})
	var failure *openai.Error
	client := openaiClient(server, 0, option.WithHeader("X-Sim-Fault", "429;retry-after=3"))
	if _, err := client.Chat.Completions.New(t.Context(), openaiParams()); !errors.As(err, &failure) {
		t.Fatalf("error %v", err)
	}
	if failure.StatusCode != 429 || failure.Code != "rate_limit_exceeded" || failure.Type != "requests" || failure.Response.Header.Get("Retry-After") != "3" {
		t.Errorf("error %+v", failure)
	}
	client = openaiClient(server, 0, option.WithHeader("X-Sim-Fault", "stream-error"))
	stream := client.Chat.Completions.NewStreaming(t.Context(), openaiParams())
	for stream.Next() {
	}
	if err := stream.Err(); err == nil || !strings.Contains(err.Error(), "server_error") {
		t.Errorf("in a stream: %v", err)
	}
	sim.Reset()
	client = openaiClient(server, 2, option.WithHeader("X-Sim-Fault", "429;times=2"), option.WithHeader("Idempotency-Key", "one"))
	params := openaiParams()
	params.StreamOptions = openai.ChatCompletionStreamOptionsParam{}
	if _, err := client.Chat.Completions.New(t.Context(), params); err != nil {
		t.Errorf("with retries: %v", err)
	}
	if got := sim.Stats(); got.Keys.Repeated != 2 || got.Total.Refused != 2 || got.Total.Finished != 1 {
		t.Errorf("stats %+v", got)
	}
}

func TestOpenAISDKListsModels(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{Instances: map[string]simulate.Behaviour{"default": {Models: []string{"gpt-4o-mini", "gpt-5"}}}})
	client := openaiClient(server, 0)
	got, err := client.Models.List(t.Context())
	if err != nil || len(got.Data) != 2 || got.Data[1].ID != "gpt-5" {
		t.Errorf("%+v, %v", got, err)
	}
	other := claudeClient(server, 0)
	page, err := other.Models.List(t.Context(), claude.ModelListParams{})
	if err != nil || len(page.Data) != 2 || page.Data[1].ID != "gpt-5" || page.HasMore {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestAnthropicSDKReadsAnswers(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{Instances: map[string]simulate.Behaviour{"default": {CachedShare: 1}}})
	client := claudeClient(server, 0)
	got, err := client.Messages.New(t.Context(), claudeParams())
	if err != nil {
		t.Fatal(err)
	}
	checkClaude(t, *got, "end_turn")
	params := claudeParams()
	params.MaxTokens = 5
	if got, err = client.Messages.New(t.Context(), params); err != nil || got.Usage.OutputTokens != 5 {
		t.Fatalf("bounded: %v, %s", err, got.RawJSON())
	}
	checkClaude(t, *got, "max_tokens")
}

func checkClaude(t *testing.T, got claude.Message, reason string) {
	t.Helper()
	words := int64(len(strings.Fields(got.Content[0].Text)))
	if words == 0 || words != got.Usage.OutputTokens || got.Usage.CacheReadInputTokens == 0 || got.Usage.InputTokens == 0 {
		t.Errorf("%d words, usage %+v", words, got.Usage)
	}
	if string(got.StopReason) != reason || !strings.HasPrefix(got.ID, "msg_01") || got.Role != "assistant" || got.Model != "claude-haiku-4-5" {
		t.Errorf("answer %+v", got)
	}
}

func TestAnthropicSDKAccumulatesStreams(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{Instances: map[string]simulate.Behaviour{"default": {CachedShare: 1}}})
	client := claudeClient(server, 0)
	got := accumulate(t, client, claudeParams())
	checkClaude(t, got, "end_turn")
	params := claudeParams()
	params.MaxTokens = 0
	if got = accumulate(t, client, params); len(got.Content) != 0 || got.StopReason != "max_tokens" {
		t.Errorf("without output: %+v", got)
	}
}

func accumulate(t *testing.T, client claude.Client, params claude.MessageNewParams) claude.Message {
	t.Helper()
	stream := client.Messages.NewStreaming(t.Context(), params)
	var got claude.Message
	for stream.Next() {
		if err := got.Accumulate(stream.Current()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(stream.Err(), stream.Close()); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAnthropicSDKReadsToolCalls(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{})
	client := claudeClient(server, 0)
	params := claudeParams()
	for _, name := range []string{"weather", "tide"} {
		params.Tools = append(params.Tools, claude.ToolUnionParamOfTool(claude.ToolInputSchemaParam{Properties: map[string]any{"name": "x"}}, name))
	}
	for want, choice := range map[string]claude.ToolChoiceUnionParam{
		"weather": {OfAny: &claude.ToolChoiceAnyParam{}},
		"tide":    claude.ToolChoiceParamOfTool("tide"),
	} {
		params.ToolChoice = choice
		whole, err := client.Messages.New(t.Context(), params)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range []claude.Message{*whole, accumulate(t, client, params)} {
			if got.StopReason != "tool_use" || len(got.Content) != 1 || got.Content[0].Name != want {
				t.Fatalf("%s: %+v", want, got)
			}
			var input struct{ Input string }
			if err := json.Unmarshal(got.Content[0].Input, &input); err != nil || input.Input == "" {
				t.Errorf("%s: input %s: %v", want, got.Content[0].Input, err)
			}
		}
	}
}

func TestAnthropicSDKReadsErrorsAndRetries(t *testing.T) {
	t.Parallel()
	sim, server := start(t, simulate.Config{})
	for fault, want := range map[string]struct {
		status int
		kind   string
	}{"529": {529, "overloaded_error"}, "auth": {401, "authentication_error"}, "429": {429, "rate_limit_error"}} {
		client := claudeClient(server, 0, claudeoption.WithHeader("X-Sim-Fault", fault))
		_, err := client.Messages.New(t.Context(), claudeParams())
		var failure *claude.Error
		if !errors.As(err, &failure) {
			t.Fatalf("%s: error %v", fault, err)
		}
		if failure.StatusCode != want.status || string(failure.Type()) != want.kind || !strings.HasPrefix(failure.RequestID, "req_011C") {
			t.Errorf("%s: status %d, type %s, request id %q", fault, failure.StatusCode, failure.Type(), failure.RequestID)
		}
	}
	client := claudeClient(server, 0, claudeoption.WithHeader("X-Sim-Fault", "stream-error"))
	stream := client.Messages.NewStreaming(t.Context(), claudeParams())
	for stream.Next() {
	}
	if err := stream.Err(); err == nil || !strings.Contains(err.Error(), "overloaded_error") {
		t.Errorf("in a stream: %v", err)
	}
	sim.Reset()
	client = claudeClient(server, 1, claudeoption.WithHeader("X-Sim-Fault", "529;times=1"))
	if _, err := client.Messages.New(t.Context(), claudeParams()); err != nil {
		t.Errorf("with a retry: %v", err)
	}
	if got := sim.Stats().Total; got.Refused != 1 || got.Finished != 1 {
		t.Errorf("stats %+v", got)
	}
}

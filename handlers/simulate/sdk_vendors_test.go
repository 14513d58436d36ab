package simulate_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	cohere "github.com/cohere-ai/cohere-go/v2"
	cohereclient "github.com/cohere-ai/cohere-go/v2/client"
	"github.com/openai/openai-go/v3"
	azure "github.com/openai/openai-go/v3/azure"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"google.golang.org/genai"

	"github.com/sira-ai/sira/handlers/simulate"
)

func genaiClient(t *testing.T) *genai.Client {
	t.Helper()
	_, server := start(t, simulate.Config{})
	client, err := genai.NewClient(t.Context(), &genai.ClientConfig{
		APIKey: "any", Backend: genai.BackendGeminiAPI, HTTPClient: server.Client(),
		HTTPOptions: genai.HTTPOptions{BaseURL: server.URL + "/gemini"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func TestGenAISDKReadsAnswersAndStreams(t *testing.T) {
	t.Parallel()
	client := genaiClient(t)
	ask := genai.Text("Tell me of the sea.")
	got, err := client.Models.GenerateContent(t.Context(), "gemini-2.5-flash", ask, nil)
	if err != nil {
		t.Fatal(err)
	}
	words := len(strings.Fields(got.Text()))
	if words < 16 || int(got.UsageMetadata.CandidatesTokenCount) != words || got.Candidates[0].FinishReason != genai.FinishReasonStop {
		t.Errorf("%d words, usage %+v", words, got.UsageMetadata)
	}
	var said strings.Builder
	var last *genai.GenerateContentResponse
	for piece, err := range client.Models.GenerateContentStream(t.Context(), "gemini-2.5-flash", ask, nil) {
		if err != nil {
			t.Fatal(err)
		}
		said.WriteString(piece.Text())
		last = piece
	}
	if n := len(strings.Fields(said.String())); n < 16 || last.Candidates[0].FinishReason != genai.FinishReasonStop || int(last.UsageMetadata.CandidatesTokenCount) != n {
		t.Errorf("streamed %q, last %+v", said.String(), last)
	}
	vectors, err := client.Models.EmbedContent(t.Context(), "gemini-embedding-001", genai.Text("a"), nil)
	if err != nil || len(vectors.Embeddings) != 1 || len(vectors.Embeddings[0].Values) != 768 {
		t.Errorf("vectors %+v, %v", vectors, err)
	}
	count, err := client.Models.CountTokens(t.Context(), "gemini-2.5-flash", ask, nil)
	if err != nil || count.TotalTokens < 1 {
		t.Errorf("count %+v, %v", count, err)
	}
}

func TestGenAISDKReadsCallsAndErrors(t *testing.T) {
	t.Parallel()
	client := genaiClient(t)
	tide := &genai.GenerateContentConfig{
		Tools:      []*genai.Tool{{FunctionDeclarations: []*genai.FunctionDeclaration{{Name: "tide"}}}},
		ToolConfig: &genai.ToolConfig{FunctionCallingConfig: &genai.FunctionCallingConfig{Mode: genai.FunctionCallingConfigModeAny}},
	}
	got, err := client.Models.GenerateContent(t.Context(), "gemini-2.5-flash", genai.Text("Call it."), tide)
	if err != nil {
		t.Fatal(err)
	}
	if calls := got.FunctionCalls(); len(calls) != 1 || calls[0].Name != "tide" || calls[0].Args["input"] == "" {
		t.Errorf("calls %+v", calls)
	}
	_, err = client.Models.GenerateContent(t.Context(), "gemini-2.5-flash+fault=429", genai.Text("Again."), nil)
	if e, ok := errors.AsType[genai.APIError](err); !ok || e.Code != http.StatusTooManyRequests || e.Status != "RESOURCE_EXHAUSTED" {
		t.Errorf("error %v, want the vendor's 429", err)
	}
}

func TestCohereSDKReadsAnswersAndStreams(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{})
	client := cohereclient.NewClient(cohereclient.WithToken("any"), cohereclient.WithBaseURL(server.URL+"/cohere"),
		cohereclient.WithHTTPClient(server.Client()))
	messages := cohere.ChatMessages{{Role: "user", User: &cohere.UserMessageV2{Content: &cohere.UserMessageV2Content{String: "Tell me of the sea."}}}}
	got, err := client.V2.Chat(t.Context(), &cohere.V2ChatRequest{Model: "command-a-03-2025", Messages: messages})
	if err != nil {
		t.Fatal(err)
	}
	words := len(strings.Fields(got.Message.Content[0].Text.Text))
	if words < 16 || int(*got.Usage.BilledUnits.OutputTokens) != words || got.FinishReason != cohere.ChatFinishReasonComplete {
		t.Errorf("%d words, usage %+v, ended by %s", words, got.Usage, got.FinishReason)
	}
	stream, err := client.V2.ChatStream(t.Context(), &cohere.V2ChatStreamRequest{Model: "command-a-03-2025", Messages: messages})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stream.Close() }()
	var said strings.Builder
	ended := false
	for {
		e, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e.ContentDelta != nil {
			said.WriteString(*e.ContentDelta.Delta.Message.Content.Text)
		}
		ended = ended || e.MessageEnd != nil
	}
	if len(strings.Fields(said.String())) < 16 || !ended {
		t.Errorf("streamed %q, ended %t", said.String(), ended)
	}
	ranks, err := client.V2.Rerank(t.Context(), &cohere.V2RerankRequest{Model: "rerank-v3.5", Query: "q", Documents: []string{"a", "b"}})
	if err != nil || len(ranks.Results) != 2 || *ranks.Meta.BilledUnits.SearchUnits != 1 {
		t.Errorf("ranks %+v, %v", ranks, err)
	}
	vectors, err := client.V2.Embed(t.Context(), &cohere.V2EmbedRequest{
		Model: "embed-v4.0", Texts: []string{"a", "b"}, InputType: cohere.EmbedInputTypeSearchDocument, EmbeddingTypes: []cohere.EmbeddingType{cohere.EmbeddingTypeFloat},
	})
	if err != nil || len(vectors.Embeddings.Float) != 2 || len(vectors.Embeddings.Float[0]) != 1536 {
		t.Errorf("vectors: %v", err)
	}
}

func TestOpenAISDKReadsAzure(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{})
	client := openai.NewClient(azure.WithEndpoint(server.URL+"/azure_openai", "2024-10-21"), azure.WithUnsafeAllowHTTP(), azure.WithAPIKey("any"),
		option.WithHTTPClient(server.Client()), option.WithMaxRetries(0))
	params := openaiParams()
	params.Model = "my-deployment"
	acc := openaiStream(t, client, params)
	if words := int64(len(strings.Fields(acc.Choices[0].Message.Content))); words < 16 || words != acc.Usage.CompletionTokens || acc.Model != "my-deployment" {
		t.Errorf("%d words of %s, usage %+v", words, acc.Model, acc.Usage)
	}
}

func TestOpenAISDKReadsTheOtherOperations(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{})
	client := openaiClient(server, 0)
	vectors, err := client.Embeddings.New(t.Context(), openai.EmbeddingNewParams{
		Model: "text-embedding-3-small", Input: openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b"}},
	})
	if err != nil || len(vectors.Data) != 2 || len(vectors.Data[1].Embedding) != 1536 || vectors.Usage.PromptTokens < 1 {
		t.Errorf("vectors: %v", err)
	}
	image, err := client.Images.Generate(t.Context(), openai.ImageGenerateParams{Prompt: "a cat", N: openai.Int(2)})
	if err != nil || len(image.Data) != 2 || image.Data[0].B64JSON == "" {
		t.Errorf("image: %v", err)
	}
	speech, err := client.Audio.Speech.New(t.Context(), openai.AudioSpeechNewParams{
		Model: "gpt-4o-mini-tts", Input: "Hello.", Voice: openai.AudioSpeechNewParamsVoiceUnion{OfString: openai.String("alloy")},
	})
	if err != nil {
		t.Fatal(err)
	}
	sound, err := io.ReadAll(speech.Body)
	if err = errors.Join(err, speech.Body.Close()); err != nil || !strings.HasPrefix(string(sound), "RIFF") {
		t.Errorf("sound of %d bytes: %v", len(sound), err)
	}
	words, err := client.Audio.Transcriptions.New(t.Context(), openai.AudioTranscriptionNewParams{Model: "whisper-1", File: strings.NewReader(string(sound))})
	if err != nil || words.Text == "" {
		t.Errorf("words: %v", err)
	}
	verdict, err := client.Moderations.New(t.Context(), openai.ModerationNewParams{Input: openai.ModerationNewParamsInputUnion{OfString: openai.String("hello")}})
	if err != nil || len(verdict.Results) != 1 || verdict.Results[0].Flagged {
		t.Errorf("verdict %+v, %v", verdict, err)
	}
}

func TestOpenAISDKReadsResponses(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{})
	client := openaiClient(server, 0)
	params := responses.ResponseNewParams{Model: "gpt-5-mini", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("Tell me of the sea.")}}
	got, err := client.Responses.New(t.Context(), params)
	if err != nil {
		t.Fatal(err)
	}
	if words := int64(len(strings.Fields(got.OutputText()))); words < 16 || words != got.Usage.OutputTokens || got.Status != "completed" {
		t.Errorf("%d words, %s", words, got.RawJSON())
	}
	stream := client.Responses.NewStreaming(t.Context(), params)
	var said strings.Builder
	next := int64(0)
	var last responses.ResponseStreamEventUnion
	for stream.Next() {
		last = stream.Current()
		if last.SequenceNumber != next {
			t.Errorf("event %s has number %d, want %d", last.Type, last.SequenceNumber, next)
		}
		next++
		if last.Type == "response.output_text.delta" {
			said.WriteString(last.Delta)
		}
		if !json.Valid([]byte(last.RawJSON())) {
			t.Errorf("event %s", last.RawJSON())
		}
	}
	if err := errors.Join(stream.Err(), stream.Close()); err != nil {
		t.Fatal(err)
	}
	if last.Type != "response.completed" || said.String() != last.Response.OutputText() || last.Response.Usage.OutputTokens == 0 {
		t.Errorf("streamed %q, last %s", said.String(), last.RawJSON())
	}
}

package simulate_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/ai/azopenai"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/sira-ai/sira/handlers/simulate"
)

// The last azopenai with a client of its own; later ones extend openai-go, of which
// TestOpenAISDKReadsAzure is.
func TestAzureSDKReadsAnswersAndStreams(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{})
	client, err := azopenai.NewClientWithKeyCredential(server.URL+"/azure_openai", azcore.NewKeyCredential("any"), &azopenai.ClientOptions{
		ClientOptions: policy.ClientOptions{InsecureAllowCredentialWithHTTP: true, Transport: server.Client(), Retry: policy.RetryOptions{MaxRetries: -1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ask := []azopenai.ChatRequestMessageClassification{
		&azopenai.ChatRequestUserMessage{Content: azopenai.NewChatRequestUserMessageContent("Tell me of the sea.")},
	}
	got, err := client.GetChatCompletions(t.Context(), azopenai.ChatCompletionsOptions{DeploymentName: new("my-deployment"), Messages: ask}, nil)
	if err != nil {
		t.Fatal(err)
	}
	words := len(strings.Fields(*got.Choices[0].Message.Content))
	if words < 16 || int(*got.Usage.CompletionTokens) != words || *got.Choices[0].FinishReason != azopenai.CompletionsFinishReasonStopped {
		t.Errorf("%d words, usage %+v", words, got.Usage)
	}

	stream, err := client.GetChatCompletionsStream(t.Context(), azopenai.ChatCompletionsStreamOptions{
		DeploymentName: new("my-deployment"), Messages: ask,
		StreamOptions: &azopenai.ChatCompletionStreamOptions{IncludeUsage: new(true)},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.ChatCompletionsStream.Close()
	var said strings.Builder
	var usage *azopenai.CompletionsUsage
	for {
		chunk, err := stream.ChatCompletionsStream.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range chunk.Choices {
			if c.Delta.Content != nil {
				said.WriteString(*c.Delta.Content)
			}
		}
		if chunk.Usage != nil {
			usage = chunk.Usage
		}
	}
	if n := len(strings.Fields(said.String())); n < 16 || usage == nil || int(*usage.CompletionTokens) != n {
		t.Errorf("%d words streamed, usage %+v", n, usage)
	}

	_, err = client.GetChatCompletions(t.Context(), azopenai.ChatCompletionsOptions{DeploymentName: new("my-deployment+fault=429"), Messages: ask}, nil)
	var refused *azcore.ResponseError
	if !errors.As(err, &refused) || refused.StatusCode != 429 {
		t.Errorf("a refusal: %v, want status 429", err)
	}
}

# The API's own entry: a rate for all callers together and an access log, before the same load balancer.
#
# It gives up on an answer after 30 s; live streams therefore go by the shop's host, straight to the load balancer.

resource "aws_apigatewayv2_api" "this" {
  name                         = var.name
  description                  = "API of ${var.name}"
  protocol_type                = "HTTP"
  disable_execute_api_endpoint = true
}

resource "aws_apigatewayv2_vpc_link" "this" {
  name               = var.name
  subnet_ids         = var.private_subnet_ids
  security_group_ids = [var.link_security_group_id]
}

resource "aws_apigatewayv2_integration" "gateway" {
  api_id                 = aws_apigatewayv2_api.this.id
  description            = "Gateway of the services"
  integration_type       = "HTTP_PROXY"
  integration_method     = "ANY"
  integration_uri        = aws_lb_listener.https.arn
  connection_type        = "VPC_LINK"
  connection_id          = aws_apigatewayv2_vpc_link.this.id
  payload_format_version = "1.0"
  timeout_milliseconds   = 29000

  # Overwritten, not added to: the firewall counts by it, so a caller must not be able to write it.
  request_parameters = {
    "overwrite:header.x-rtc-client-ip" = "$context.identity.sourceIp"
  }

  tls_config {
    server_name_to_verify = local.hosts.api
  }
}

resource "aws_apigatewayv2_route" "all" {
  #checkov:skip=CKV_AWS_309:Sign-up, sign-in and the catalogue are open to all; each route's policy is the gateway's, which refuses what has none
  api_id             = aws_apigatewayv2_api.this.id
  route_key          = "$default"
  authorization_type = "NONE"
  target             = "integrations/${aws_apigatewayv2_integration.gateway.id}"
}

resource "aws_cloudwatch_log_group" "api" {
  name              = "/rtc/${var.name}/api"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.logs_key_arn
}

resource "aws_apigatewayv2_stage" "this" {
  api_id      = aws_apigatewayv2_api.this.id
  name        = "$default"
  auto_deploy = true

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.api.arn
    format = jsonencode({
      request_id        = "$context.requestId"
      at                = "$context.requestTime"
      address           = "$context.identity.sourceIp"
      method            = "$context.httpMethod"
      path              = "$context.path"
      status            = "$context.status"
      bytes             = "$context.responseLength"
      latency_ms        = "$context.responseLatency"
      integration_ms    = "$context.integrationLatency"
      integration_error = "$context.integrationErrorMessage"
    })
  }

  default_route_settings {
    detailed_metrics_enabled = true
    throttling_rate_limit    = var.api_requests_per_second
    throttling_burst_limit   = var.api_burst
  }
}

resource "aws_apigatewayv2_domain_name" "this" {
  domain_name = local.hosts.api

  domain_name_configuration {
    certificate_arn = aws_acm_certificate_validation.this.certificate_arn
    endpoint_type   = "REGIONAL"
    security_policy = "TLS_1_2"
  }
}

resource "aws_apigatewayv2_api_mapping" "this" {
  api_id      = aws_apigatewayv2_api.this.id
  domain_name = aws_apigatewayv2_domain_name.this.id
  stage       = aws_apigatewayv2_stage.this.id
}

resource "aws_route53_record" "api" {
  zone_id = local.zone_id
  name    = local.hosts.api
  type    = "A"

  alias {
    name                   = aws_apigatewayv2_domain_name.this.domain_name_configuration[0].target_domain_name
    zone_id                = aws_apigatewayv2_domain_name.this.domain_name_configuration[0].hosted_zone_id
    evaluate_target_health = false
  }
}
